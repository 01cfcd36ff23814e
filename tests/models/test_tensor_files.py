"""Folders of safetensors: slices of every dtype, 8-bit floats with their scales, and what is wrong with a folder."""

import json
import re

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from r1jax.models.huggingface.errors import WeightsError
from r1jax.models.huggingface.tensor_files import INDEX, SINGLE, TensorFolder

DRAW = np.random.default_rng(0)
BLOCK = 128


def normal(*shape, dtype=np.float32):
    return DRAW.standard_normal(shape, np.float32).astype(dtype)


def header(**tensors):
    """The bytes before the data, padded by nothing: (dtype, shape, first, last) by name."""
    fields = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}
        for name, (dtype, shape, first, last) in tensors.items()
    }
    text = json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text


def write_shards(folder, shards, weight_map=None):
    """`shards`: file name -> tensors; the index is right unless another `weight_map` is given."""
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
    if weight_map is None:
        weight_map = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def float8(rows, columns, block=BLOCK, scale_dtype=np.float32):
    """(values, scales, the float32 that they stand for)."""
    values = normal(rows, columns).astype(ml_dtypes.float8_e4m3fn)
    scales = np.abs(normal(-(-rows // block), -(-columns // block))).astype(scale_dtype)
    wide = np.repeat(np.repeat(scales.astype(np.float32), block, 0), block, 1)[:rows, :columns]
    return values, scales, values.astype(np.float32) * wide


def write_float8(folder, values, scales, block=(BLOCK, BLOCK)):
    save_file({"a.weight": values, "a.weight_scale_inv": scales}, folder / SINGLE)
    (folder / "config.json").write_text(json.dumps({"quantization_config": {"weight_block_size": block}}))


def error_of(folder):
    with pytest.raises(WeightsError) as caught:
        TensorFolder(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_slices_are_those_of_the_tensor_in_its_dtype(tmp_path, dtype):
    matrix, vector = normal(6, 10, dtype=dtype), normal(7, dtype=dtype)
    save_file({"matrix": matrix, "vector": vector}, tmp_path / SINGLE)
    files = TensorFolder(tmp_path)
    assert files.tensors["matrix"].shape == (6, 10)
    for name, index, expected in [
        ("matrix", (slice(2, 5), slice(3, 4)), matrix[2:5, 3:4]),
        ("matrix", (slice(0, 6), slice(4, 10)), matrix[:, 4:]),
        ("matrix", None, matrix),
        ("vector", (slice(1, 3),), vector[1:3]),
    ]:
        found = files.read(name, index)
        assert found.dtype == dtype
        assert type(found) is np.ndarray
        assert found.flags.owndata
        np.testing.assert_array_equal(found, expected)
    as_float32 = files.read("matrix", (slice(1, 2), slice(None)), np.dtype(np.float32))
    np.testing.assert_array_equal(as_float32, matrix[1:2].astype(np.float32))
    assert as_float32.dtype == np.float32


def test_tensors_at_odd_offsets_are_read(tmp_path):
    # Only newer writers align the data; here 3 bytes stand before the bfloat16.
    values = normal(4, dtype=ml_dtypes.bfloat16)
    head = header(a=("U8", [3], 0, 3), b=("BF16", [4], 3, 11))
    if len(head) % 2:
        head = (len(head) - 7).to_bytes(8, "little") + head[8:] + b" "
    (tmp_path / SINGLE).write_bytes(head + bytes(3) + values.tobytes())
    files = TensorFolder(tmp_path)
    assert files.tensors["b"].offset % 2 == 1
    np.testing.assert_array_equal(files.read("b", (slice(1, 4),), np.dtype(np.float32)), values[1:].astype(np.float32))


def test_of_a_large_file_only_the_slice_is_read(tmp_path):
    # 64 GiB that exist in the file system's books alone: nothing could read them all.
    rows, columns = 2**17, 2**17
    head = header(a=("F32", [rows, columns], 0, rows * columns * 4))
    with open(tmp_path / SINGLE, "wb") as file:
        file.write(head)
        file.truncate(len(head) + rows * columns * 4)
        file.seek(len(head) + 4 * (columns * 100_000 + 7))
        file.write(np.float32(3.5).tobytes())
    files = TensorFolder(tmp_path)
    assert (files.host.largest_read, files.host.live, files.host.peak) == (0, 0, 0)
    np.testing.assert_array_equal(files.read("a", (slice(99_999, 100_001), slice(6, 8))), [[0, 0], [0, 3.5]])
    assert files.host.peak == 16


def test_bytes_are_counted_until_they_are_released(tmp_path):
    save_file({"a": normal(8, 4)}, tmp_path / SINGLE)
    files = TensorFolder(tmp_path)
    first = files.read("a", (slice(0, 8), slice(0, 4)))  # 128 bytes
    second = files.read("a", (slice(0, 2), slice(0, 4)))  # 32
    assert (files.host.largest_read, files.host.live, files.host.peak) == (128, 160, 160)
    files.host.release(first)
    third = files.host.hold(np.empty(16, np.float32))  # 64, a buffer of the caller's: no read
    assert (files.host.largest_read, files.host.live, files.host.peak) == (128, 96, 160)
    files.host.release(second)
    files.host.release(third)
    assert (files.host.live, files.host.peak) == (0, 160)


def test_float8_is_multiplied_by_its_block_s_scale(tmp_path):
    values, scales, expected = float8(300, 200)  # 3 x 2 blocks, the last ones of 44 rows and 72 columns
    write_float8(tmp_path, values, scales)
    files = TensorFolder(tmp_path)
    assert list(files.tensors) == ["a.weight"]
    for rows, columns in [
        (slice(0, 300), slice(0, 200)),
        (slice(128, 256), slice(0, 128)),  # one block
        (slice(100, 290), slice(60, 190)),  # cuts through all six
        (slice(299, 300), slice(127, 129)),
        (slice(5, 6), slice(0, 200)),
    ]:
        found = files.read("a.weight", (rows, columns))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected[rows, columns])
    whole = files.read("a.weight")
    np.testing.assert_array_equal(whole, expected)
    as_bfloat16 = files.read("a.weight", dtype=np.dtype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(as_bfloat16, expected.astype(ml_dtypes.bfloat16))


def test_float8_blocks_are_as_large_as_the_config_says(tmp_path):
    values, scales, expected = float8(10, 7, block=4, scale_dtype=ml_dtypes.bfloat16)
    write_float8(tmp_path, values, scales, block=(4, 4))
    found = TensorFolder(tmp_path).read("a.weight", (slice(3, 9), slice(2, 7)))
    np.testing.assert_array_equal(found, expected[3:9, 2:7])


def test_float8_without_what_it_takes_is_an_error(tmp_path):
    values, scales, _ = float8(300, 200)
    write_float8(tmp_path, values, scales[:2])
    assert "expected [3, 2] float scales (blocks of [128, 128]), found F32[2, 2]" in error_of(tmp_path)
    save_file({"a.weight": values}, tmp_path / SINGLE)
    assert "a.weight is F8_E4M3, expected its scales as a.weight_scale_inv" in error_of(tmp_path)
    write_float8(tmp_path, values, scales, block=None)
    assert "expected quantization_config.weight_block_size, two positive integers, found None" in error_of(tmp_path)
    (tmp_path / "config.json").unlink()
    assert re.search(r"config\.json: expected this file, found none", error_of(tmp_path))


def test_shards_are_read_as_one_folder(tmp_path):
    one, two = normal(2, 3), normal(4, dtype=ml_dtypes.bfloat16)
    write_shards(tmp_path, {"model-1.safetensors": {"one": one}, "model-2.safetensors": {"two": two}})
    files = TensorFolder(tmp_path)
    assert {name: tensor.file.name for name, tensor in files.tensors.items()} == {
        "one": "model-1.safetensors",
        "two": "model-2.safetensors",
    }
    np.testing.assert_array_equal(files.read("one"), one)
    np.testing.assert_array_equal(files.read("two"), two)


def test_a_folder_without_safetensors_is_an_error(tmp_path):
    assert "found no such folder" in error_of(tmp_path / "nowhere")
    assert f"expected {SINGLE} or {INDEX}, found no safetensors" in error_of(tmp_path)
    save_file({"a": normal(1)}, tmp_path / "model-00001-of-00002.safetensors")
    assert "found model-00001-of-00002.safetensors" in error_of(tmp_path)
    assert "experiments/convert.py" in error_of("gs://bucket/model")


def test_a_shard_that_is_missing_is_an_error(tmp_path):
    names = [f"model-{number}.safetensors" for number in range(11)]
    write_shards(tmp_path, {name: {name: normal(1)} for name in names})
    for name in names[1:]:
        (tmp_path / name).unlink()
    text = error_of(tmp_path)
    assert "the index names files that are missing: model-1.safetensors; model-10.safetensors; model-2" in text
    assert "and 2 more" in text


@pytest.mark.parametrize("kept", [0, 5, 60, -1], ids=["empty", "length", "header", "last byte"])
def test_a_truncated_file_is_an_error(tmp_path, kept):
    save_file({"a": normal(4, 4)}, tmp_path / SINGLE)
    content = (tmp_path / SINGLE).read_bytes()
    (tmp_path / SINGLE).write_bytes(content[:kept])
    assert re.search(r"model\.safetensors: not a whole safetensors file \(.*\); download it again", error_of(tmp_path))


def test_a_file_that_is_something_else_is_an_error(tmp_path):
    (tmp_path / SINGLE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert "not a whole safetensors file" in error_of(tmp_path)


def test_a_tensor_in_two_shards_is_an_error(tmp_path):
    write_shards(tmp_path, {"one.safetensors": {"a": normal(1), "b": normal(1)}, "two.safetensors": {"a": normal(1)}})
    assert "tensors in two files: a in one.safetensors and two.safetensors" in error_of(tmp_path)


def test_an_index_that_names_what_a_shard_lacks_is_an_error(tmp_path):
    shards = {"one.safetensors": {"a": normal(1)}, "two.safetensors": {"b": normal(1)}}
    weight_map = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}
    write_shards(tmp_path, shards, weight_map)
    assert "tensors that their file lacks: b (one.safetensors); c (two.safetensors)" in error_of(tmp_path)


def test_an_index_that_is_none_is_an_error(tmp_path):
    (tmp_path / INDEX).write_text("{")
    assert "expected JSON" in error_of(tmp_path)
    (tmp_path / INDEX).write_text("[]")
    assert "expected a JSON object, found a list" in error_of(tmp_path)
    (tmp_path / INDEX).write_text("{}")
    assert "expected weight_map" in error_of(tmp_path)


def test_a_dtype_that_is_no_float_is_an_error_that_names_the_tensor(tmp_path):
    save_file({"packed": np.zeros((2, 2), np.int8)}, tmp_path / SINGLE)
    with pytest.raises(WeightsError, match=r"tensor packed: expected one of F32, F16, BF16, F8_E4M3, found I8"):
        TensorFolder(tmp_path).read("packed")

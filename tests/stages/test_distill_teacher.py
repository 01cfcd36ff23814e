"""Who can be a teacher: an earlier stage or a folder, of any shape, with the student's own tokenizer."""

import dataclasses

import jax
import numpy as np
import pytest
from test_distill import RUN, STAGE
from tiny_runs import run_on_one

from r1jax.config import ConfigError
from r1jax.data.packing import micro_batches, pack, training_sequence
from r1jax.models.huggingface.exporter import export
from r1jax.stages.context import open_context
from r1jax.stages.distill_teacher import check_same_tokenizer, open_teacher
from r1jax.stages.weights import load_params
from r1jax.text.tokenizer import Tokenizer, TokenizerError
from r1jax.workdir import Workdir


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run whose teacher is trained, and its workdir."""
    path = tmp_path_factory.mktemp("teacher")
    run_on_one(RUN, str(path), stages=["base"])
    with open_context(RUN, Workdir(str(path)), jax.devices()[:1]) as run:
        yield run, path


def a_batch():
    rows, _ = pack([training_sequence([2, 3], [4, 5, 6])] * 2, row_tokens=8, packed=True)
    return micro_batches(rows, micro_batch_rows=2) | {"temperature": np.float32(0.8)}


def exported(run, path, folder, **tokenizer) -> str:
    teacher = run.of("base")
    params = load_params(str(path / "base" / "checkpoints"), None, teacher)
    export(params, teacher.config.model, str(folder), dtype="float32", max_positions=64, **tokenizer)
    return str(folder)


def test_a_stage_and_the_folder_that_it_was_exported_to_say_the_same(taught, tmp_path):
    run, path = taught
    student = run.of("taught")
    folder = exported(run, path, tmp_path / "hf", tokenizer=run.tokenizer)
    of_stage, of_folder = open_teacher("base", student), open_teacher(folder, student)
    assert of_stage.model.hidden_size == of_folder.model.hidden_size != student.config.model.hidden_size
    found, expected = of_folder.logps(a_batch()), of_stage.logps(a_batch())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found[a_batch()["mask"] > 0].max() < 0


def test_a_teacher_with_another_tokenizer_is_a_one_line_error(taught, tmp_path):
    run, path = taught
    other = Tokenizer.from_texts_wordlevel(["some", "other", "words"])
    folder = exported(run, path, tmp_path / "hf", tokenizer=other)
    with pytest.raises(ConfigError) as error:
        open_teacher(folder, run.of("taught"))
    text = str(error.value)
    assert "\n" not in text
    assert f"teacher {folder}" in text
    assert "5 tokens" in text  # the three words, padding and end of text
    assert "SFT" in text


def test_the_stage_refuses_such_a_teacher_before_it_trains(taught, tmp_path):
    run, path = taught
    folder = exported(run, path, tmp_path / "hf", tokenizer=Tokenizer.from_texts_wordlevel(["some", "words"]))
    config = dataclasses.replace(RUN, stages=(*RUN.stages[:1], dataclasses.replace(STAGE, teacher=folder)))
    with pytest.raises(ConfigError, match="expected the tokenizer of the student"):
        run_on_one(config, str(tmp_path / "run"), stages=["taught"])


def test_one_token_under_another_id_is_enough():
    ours = Tokenizer.from_texts_wordlevel(["a", "b", "c"])
    swapped = Tokenizer.from_texts_wordlevel(["a", "c", "b"])
    check_same_tokenizer(ours, Tokenizer.from_texts_wordlevel(["a", "b", "c"]), "same")
    with pytest.raises(ConfigError, match=r"2 with other ids, such as 'b' \(3, 4\), 'c' \(4, 3\)"):
        check_same_tokenizer(ours, swapped, "swapped")


def test_the_end_of_a_text_is_the_same_token(tmp_path):
    ours = Tokenizer.from_texts_wordlevel(["a", "b", "<end>"])
    ours.save(str(tmp_path))
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"eos_token": "<eos>"', '"eos_token": "<end>"'))
    with pytest.raises(ConfigError, match=r"end-of-text token.*'<eos>'.*<end>"):
        check_same_tokenizer(ours, Tokenizer.load(str(tmp_path)), "other")


def test_a_folder_without_a_tokenizer_or_weights_is_a_one_line_error(taught, tmp_path):
    run, path = taught
    folder = exported(run, path, tmp_path / "hf", tokenizer=run.tokenizer)
    (tmp_path / "hf" / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="no such tokenizer"):
        open_teacher(folder, run.of("taught"))
    with pytest.raises(ConfigError, match="Hugging Face folder with safetensors"):
        open_teacher(str(path / "base"), run.of("taught"))

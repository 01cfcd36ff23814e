"""The command as a user meets it: what goes wrong is said in one line, on stderr, with exit code 2."""

import importlib.util
import pathlib

import pytest
from absl import flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = f"--config={ROOT}/experiments/configs/tiny_zero.py"
GSM8K = f"--config={ROOT}/experiments/configs/gsm8k_zero.py"


@pytest.fixture(scope="module")
def run():
    """experiments/run.py as a module."""
    spec = importlib.util.spec_from_file_location("experiments_run", ROOT / "experiments" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def error_of(run, monkeypatch, capsys):
    """Runs the command and returns the one line that it says on stderr."""

    def call(*arguments: str) -> str:
        for name in ("config", "workdir", "stages", "dry_run"):
            flags.FLAGS[name].unparse()  # absl keeps the values of the last call
        monkeypatch.setattr("sys.argv", ["run.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            run.main()
        assert stopped.value.code == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(said) == 1
        return said[0]

    return call


def test_an_unknown_field_is_answered_with_the_nearest_name(error_of, tmp_path):
    error = error_of(TINY, f"--workdir={tmp_path}", "--config.stages.zero.num_step=5")
    assert "has no field 'num_step'" in error
    assert "did you mean 'num_steps'?" in error


def test_a_value_of_another_type_is_named(error_of, tmp_path):
    error = error_of(TINY, f"--workdir={tmp_path}", "--config.seed=one")
    assert "--config.seed: expected an integer, found 'one'" in error


def test_a_missing_config_file_is_named_with_those_there_are(error_of, tmp_path):
    error = error_of(f"--config={ROOT}/experiments/configs/tiny_zro.py", f"--workdir={tmp_path}")
    assert "there is no such file" in error
    assert "tiny_zero" in error


def test_a_missing_flag_is_one_line(error_of):
    assert "workdir" in error_of(TINY)


def test_a_stage_that_does_not_exist_is_answered_with_those_there_are(error_of, tmp_path):
    assert "expected one of base, zero, found 'one'" in error_of(TINY, f"--workdir={tmp_path}", "--stages=one")


def test_a_missing_tokenizer_is_named(error_of, tmp_path):
    assert "/nowhere" in error_of(GSM8K, f"--workdir={tmp_path}", "--config.tokenizer.path=/nowhere")


def data_flags(path) -> list[str]:
    """The base stage on a file of the user's instead of the generator."""
    return [f"--config.stages.base.data.{field}" for field in ("kind=jsonl", f"path={path}")]


def test_a_missing_data_file_is_named(error_of, tmp_path):
    error = error_of(TINY, f"--workdir={tmp_path / 'run'}", *data_flags(tmp_path / "nothing.jsonl"))
    assert str(tmp_path / "nothing.jsonl") in error


def test_a_malformed_line_is_named_by_its_number(error_of, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "1 2"}\n{"text": \n')
    error = error_of(TINY, f"--workdir={tmp_path / 'run'}", *data_flags(data))
    assert f"{data}:2" in error


def test_a_mesh_that_does_not_match_the_devices_is_named(error_of, tmp_path):
    error = error_of(TINY, f"--workdir={tmp_path}", "--config.mesh.fsdp=3")
    assert "8 devices" in error
    assert "fsdp=3" in error


def test_a_workdir_of_another_config_is_refused(error_of, tmp_path):
    (tmp_path / "config.json").write_text('{"class": "RunConfig", "name": "other"}')
    assert "made by the config 'other', not by 'tiny_zero'" in error_of(TINY, f"--workdir={tmp_path}")

"""What needs no jail: jobs, the command line, and what is said where a jail cannot be had."""

import os
import pathlib
import stat
import subprocess
import sys

import pytest
from jail_marks import PATIENT, HostBefore, needs_jail

from r1jax.errors import UserError
from r1jax.sandbox import (
    Job,
    Limits,
    Result,
    Sandbox,
    SandboxUnavailable,
    Status,
    bubblewrap,
    driver,
    http_backends,
    python_view,
    self_test,
)
from r1jax.sandbox.jobs import MOST_INPUT_BYTES, status_of_exit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox of this host is for Linux")


def test_the_sandbox_does_not_load_jax():
    code = "import sys, r1jax.sandbox; sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "change", [{"wall_seconds": 0}, {"memory_bytes": 2**20}, {"processes": -1}, {"cpu_seconds": float("nan")}]
)
def test_a_limit_that_is_none_is_refused(change):
    with pytest.raises(UserError, match=next(iter(change))):
        Limits(**change)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"source": "", "argv": ("python3",)},
        {"argv": ()},
        {"source": "", "files": {"/etc/passwd": ""}},
        {"source": "", "files": {"a/../../b": ""}},
        {"source": "", "files": {".": ""}},
        {"source": "", "files": {"a\0b": ""}},
        {"source": "", "stdin": bytes(MOST_INPUT_BYTES + 1)},
    ],
)
def test_a_job_that_makes_no_sense_is_refused(fields):
    with pytest.raises(UserError, match="expected"):
        Job(**fields)


@pytest.mark.parametrize(
    ("code", "stderr", "status"),
    [
        (0, b"MemoryError", Status.FINISHED),
        (1, b"ValueError: MemoryError", Status.FINISHED),
        (1, b"Traceback\nMemoryError\n\n", Status.OVER_MEMORY),
        (-11, b"", Status.CRASHED),
        (-24, b"", Status.OVER_TIME),
        (-25, b"", Status.OVER_OUTPUT),
    ],
)
def test_an_exit_code_has_a_status(code, stderr, status):
    assert status_of_exit(code, stderr)[0] is status


# Backends without jails.


def printing(number):
    return Job(source=f"print({number}, flush=True)\n1 / ({number} != 2)", limits=PATIENT)


def until_failure(result):
    return not result.ok


def test_plain_processes_end_a_batch_early_too():
    with Sandbox(unsafe=True) as sandbox:
        results = sandbox.run_batch([printing(number) for number in range(5)], until=until_failure)
    assert [result.text() for result in results] == ["0\n", "1\n", "2\n"]


def test_a_service_is_not_asked_for_what_is_left_of_a_batch(monkeypatch):
    asked = []

    def run(backend, job):
        asked.append(job)
        return Result(Status.FINISHED, exit_code=len(asked) // 3)

    monkeypatch.setattr(http_backends.HttpBackend, "_run", run)
    with Sandbox("piston", url="http://127.0.0.1:9") as sandbox:
        results = sandbox.run_batch([printing(number) for number in range(5)], until=until_failure)
        assert [result.exit_code for result in results] == [0, 0, 1]
        assert asked == [printing(number) for number in range(3)]
        assert len(sandbox.run_batch([printing(0)] * 2)) == 2


def test_plain_processes_are_joined_as_jails_are():
    first, waiting = Job(source="", limits=PATIENT), Job(source="import os\nos.read(3, 1)", limits=PATIENT)
    failing = Job(source="1 / 0", limits=PATIENT)
    listening = Job(source="import os\nprint(os.read(3, 1))", limits=PATIENT)
    with Sandbox(unsafe=True) as sandbox:
        ended = sandbox.run_pair(first, waiting)[1]
        assert (ended.status, ended.exit_code, ended.signal) == (Status.FINISHED, None, None)
        listened, failed = sandbox.run_pair(listening, failing)
        assert (listened.text(), failed.status, failed.exit_code) == ("b''\n", Status.FINISHED, 1)


def test_the_banner_is_printed_once(capfd):
    with Sandbox(unsafe=True), Sandbox(unsafe=True, tested=True) as second:
        assert second.stamp["unsafe"] is True
    assert capfd.readouterr().err.count("UNSAFE") == 1


# The command line.


@pytest.fixture
def options(monkeypatch):
    """A bubblewrap of the newest kind, which is not run."""
    monkeypatch.setattr(bubblewrap, "program", lambda: ("/usr/bin/bwrap", frozenset(["--disable-userns"])))
    return {"control_fd": 7, "info_fd": 8, "seccomp_fd": 9, "file_bytes": 4096}


def pairs(command, option):
    return [command[i + 1] for i, word in enumerate(command[: command.index("--")]) if word == option]


def test_the_command_of_a_jail(options):
    command = bubblewrap.command(uid=1_879_100_000, imports=("math",), **options)
    for word in ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--as-pid-1"):
        assert word in command
    for word in ("--new-session", "--clearenv", "--unshare-cgroup-try"):
        assert word in command
    assert "--unshare-user" not in command
    assert pairs(command, "--cap-drop") == ["ALL"]
    assert command.index("--cap-drop") < command.index("--cap-add")
    assert set(pairs(command, "--cap-add")) == {"CAP_SETUID", "CAP_SETGID", "CAP_KILL"}
    assert command[command.index("--") + 1 :] == [
        "/usr/bin/python3",
        "-I",
        "-S",
        "/usr/lib/r1jax-jail.py",
        "7",
        "1879100000",
        "math",
    ]
    size = command.index("--size")
    assert command[size : size + 4] == ["--size", "4096", "--tmpfs", "/tmp"]
    assert command[command.index("--remount-ro", size) + 1] == "/"  # after the last mount


def test_a_plain_user_s_jail_has_a_user_namespace_and_no_capabilities(options):
    command = bubblewrap.command(uid=None, **options)
    assert "--unshare-user" in command
    assert "--disable-userns" in command
    assert "--cap-add" not in command
    assert command[-1] == "-"


def test_nothing_of_the_host_is_mounted_writable_but_devices(options):
    command = bubblewrap.command(uid=None, **options)
    assert not {"--bind", "--bind-try", "--dev", "--proc"} & set(command)
    assert pairs(command, "--dev-bind") == [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")]
    assert "/" in pairs(command, "--remount-ro")


def test_the_view_is_the_interpreter_its_library_and_what_they_load():
    view = {inside: outside for outside, inside in python_view.mounts()}
    assert os.path.samefile(view[python_view.INSIDE_STDLIB], pathlib.Path(os.__file__).parent)
    assert any(path.startswith("/usr/lib/libc.so") for path in view)
    folders = [inside for inside, outside in view.items() if os.path.isdir(outside)]
    assert folders == [python_view.INSIDE_STDLIB]
    assert not any("/etc" in path or "/home" in path or "/root" in path for path in view)


# Where a jail cannot be had.


@pytest.fixture
def fake_bwrap(tmp_path, monkeypatch):
    """Puts a shell script in the place of bubblewrap."""

    def install(text):
        (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bwrap").chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        bubblewrap.program.cache_clear()

    yield install
    bubblewrap.program.cache_clear()


HELP = (
    "if [ $1 = --help ]; then for o in "
    + " ".join(bubblewrap.NEEDED_OPTIONS)
    + '; do echo "    $o X"; done; exit 0; fi\n'
)


def test_no_bubblewrap_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    bubblewrap.program.cache_clear()
    with pytest.raises(SandboxUnavailable, match="apt-get install -y bubblewrap"):
        Sandbox().__enter__()
    bubblewrap.program.cache_clear()


def test_an_old_bubblewrap_is_said_with_what_it_lacks(fake_bwrap):
    fake_bwrap("echo '    --perms OCTAL'")
    with pytest.raises(SandboxUnavailable, match=r"0\.8 or later, found one without --size"):
        Sandbox().__enter__()


def test_no_pyseccomp_is_said_with_the_command_that_installs_it(fake_bwrap, monkeypatch):
    fake_bwrap(HELP)
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(SandboxUnavailable, match=r"pip install 'r1jax\[sandbox\]'"):
        Sandbox().__enter__()


@needs_jail
@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor profile"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces"),
        (None, None, "--cap-add SYS_ADMIN"),
    ],
)
def test_a_bubblewrap_that_may_not_is_said_with_the_setting_to_change(
    fake_bwrap, monkeypatch, tmp_path, setting, value, remedy
):
    fake_bwrap(HELP + "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    monkeypatch.setattr(bubblewrap, "SYSCTL", tmp_path / "sys")
    monkeypatch.setattr(bubblewrap, "as_root", lambda: False)
    if setting is not None:
        (tmp_path / "sys" / setting).parent.mkdir(parents=True)
        (tmp_path / "sys" / setting).write_text(value + "\n")
    before = HostBefore()
    with pytest.raises(SandboxUnavailable, match="No permissions to create new namespace") as caught:
        Sandbox().__enter__()
    assert remedy in str(caught.value)
    before.assert_as_before()


@needs_jail
def test_a_check_that_fails_is_an_error_that_names_it(monkeypatch):
    report = self_test.Report(
        (self_test.Check("network", False, "a socket of AF_INET"), self_test.Check("files", True, ""))
    )
    monkeypatch.setattr(self_test, "run", lambda run_batch: report)
    with pytest.raises(SandboxUnavailable, match="network: a socket of AF_INET"):
        Sandbox().__enter__()


def test_settings_that_contradict_each_other_are_refused():
    for settings in ({"backend": "docker"}, {"backend": "piston"}, {"url": "http://x"}):
        with pytest.raises(UserError, match="sandbox: "):
            Sandbox(**settings)
    with pytest.raises(UserError, match="unsafe"):
        Sandbox("piston", url="http://x", unsafe=True)
    for settings in ({"unsafe": True, "cgroup": "/x"}, {"backend": "piston", "url": "http://x", "core": 0}):
        with pytest.raises(UserError, match="core and cgroup are of jails on this host"):
            Sandbox(**settings)
    with pytest.raises(UserError, match="http://host:8080"):
        Sandbox("piston", url="localhost:80").__enter__()
    with pytest.raises(RuntimeError, match="not open"):
        Sandbox().run(Job(source=""))


def test_the_command_says_what_is_missing(monkeypatch):
    done = subprocess.run(
        [sys.executable, "-m", "r1jax.sandbox"],
        env={"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sandbox: expected the program bwrap")


def test_the_driver_kills_nothing_outside_a_jail():
    with pytest.raises(RuntimeError, match="no jail"):
        driver.end_all()

"""bubblewrap's command line for a jail, and what this host lacks to run it.

As root, a jail has no user namespace: its first process stays root with three capabilities and gives each program
a user id of its own. As a plain user, a user namespace gives bubblewrap the right to make the others, and all
inside is that user; further user namespaces are then forbidden.
"""

from __future__ import annotations

import functools
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterable

from r1jax.sandbox import driver, python_view
from r1jax.sandbox.jobs import SandboxUnavailable

PROGRAM = "bwrap"
INSTALL = "apt-get install -y bubblewrap"
INSIDE_DRIVER = "/usr/lib/r1jax-jail.py"
INSIDE_ID = 1000  # of a plain user's programs, in their own namespace
HOSTNAME = "jail"
ENVIRONMENT = {
    "PATH": "/usr/bin",
    "HOME": driver.WORK,
    "LANG": "C.UTF-8",
    "LD_LIBRARY_PATH": python_view.INSIDE_LIBRARIES,
    "MALLOC_ARENA_MAX": "2",  # an arena maps 64 MiB of the address space, and a thread would have its own
}
DEVICES = ("null", "zero", "full", "random", "urandom")
# To become each program's user and to kill its processes; SYS_ADMIN and more are bubblewrap's own, and dropped.
DRIVER_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
CAPABILITY_BITS = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
NEEDED_OPTIONS = ("--size", "--as-pid-1", "--remount-ro", "--perms", "--info-fd", "--seccomp", "--clearenv")
STATUS = pathlib.Path("/proc/self/status")
SYSCTL = pathlib.Path("/proc/sys")


def as_root() -> bool:
    """Whether we hold what a jail without a user namespace takes."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", STATUS.read_text(), re.MULTILINE)
    held = int(found[1], 16) if found else 0
    return os.geteuid() == 0 and all(held >> bit & 1 for bit in CAPABILITY_BITS.values())


@functools.cache
def program() -> tuple[str, frozenset[str]]:
    """Path of bubblewrap and the options that it knows; SandboxUnavailable when it is missing or too old."""
    path = shutil.which(PROGRAM)
    if path is None:
        raise SandboxUnavailable(
            f"sandbox: expected the program {PROGRAM} (bubblewrap), found none on the PATH; install it with "
            f"{INSTALL}, or name an HTTP backend"
        )
    text = subprocess.run([path, "--help"], capture_output=True, text=True, check=False).stdout
    options = frozenset(re.findall(r"^\s+(--[a-z0-9-]+)", text, re.MULTILINE))
    missing = [option for option in NEEDED_OPTIONS if option not in options]
    if missing:
        raise SandboxUnavailable(
            f"sandbox: expected bubblewrap 0.8 or later, found one without {', '.join(missing)} at {path}; upgrade it "
            f"({INSTALL})"
        )
    return path, options


def command(
    *, uid: int | None, control_fd: int, info_fd: int, seccomp_fd: int, file_bytes: int, imports: Iterable[str] = ()
) -> list[str]:
    """The command of one jail.

    Args:
      uid: of its programs, which needs the privileges of root; None for a user namespace.
      control_fd, info_fd, seccomp_fd: descriptors that bubblewrap inherits: the driver's socket, where to write
        the driver's process id, where to read the filter.
      file_bytes: size of its only writable file system.
      imports: modules of the standard library that all its programs would import.
    """
    path, options = program()
    words = [path, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if uid is None:
        words += ["--unshare-user", "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID)]
        words += ["--disable-userns"] if "--disable-userns" in options else []
    words += ["--die-with-parent", "--new-session", "--as-pid-1", "--hostname", HOSTNAME, "--clearenv"]
    for name, value in ENVIRONMENT.items():
        words += ["--setenv", name, value]
    words += ["--cap-drop", "ALL"]
    if uid is not None:
        for capability in DRIVER_CAPABILITIES:
            words += ["--cap-add", capability]
    mounts = (*python_view.mounts(), (driver.__file__, INSIDE_DRIVER))
    # Folders that bubblewrap makes on its way to a mount are open to their owner alone.
    for folder in sorted({str(parent) for _, inside in mounts for parent in pathlib.PurePosixPath(inside).parents}):
        words += ["--dir", folder] if folder != "/" else []
    for outside, inside in mounts:
        words += ["--ro-bind", outside, inside]
    for folder in python_view.hidden():
        words += ["--tmpfs", folder, "--remount-ro", folder]
    words += ["--dir", "/dev"]
    for device in DEVICES:  # a remount would forbid to open them; the nodes are root's, who is not inside
        words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    words += ["--perms", "1777", "--size", str(file_bytes), "--tmpfs", driver.FILES, "--remount-ro", "/"]
    words += ["--chdir", driver.FILES, "--info-fd", str(info_fd), "--seccomp", str(seccomp_fd), "--"]
    words += [python_view.INSIDE_PYTHON, "-I", "-S", INSIDE_DRIVER, str(control_fd)]
    return [*words, "-" if uid is None else str(uid), *imports]


def diagnosis(words: str) -> str:
    """Which setting of this host stands against a jail, by what bubblewrap has said on its standard error."""

    def setting(name: str) -> str | None:
        path = SYSCTL / name.replace(".", "/")
        return path.read_text().strip() if path.exists() else None

    if setting("kernel.apparmor_restrict_unprivileged_userns") == "1" and not as_root():
        remedy = (
            "kernel.apparmor_restrict_unprivileged_userns is 1: give bwrap an AppArmor profile (Ubuntu 24.04: "
            "apt-get install -y apparmor-profiles, then cp /usr/share/apparmor/extra-profiles/bwrap-userns-restrict "
            "/etc/apparmor.d/ and reload it), or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    elif setting("kernel.unprivileged_userns_clone") == "0" and not as_root():
        remedy = "kernel.unprivileged_userns_clone is 0: sysctl kernel.unprivileged_userns_clone=1"
    elif setting("user.max_user_namespaces") == "0" and not as_root():
        remedy = "user.max_user_namespaces is 0: sysctl user.max_user_namespaces=10000"
    else:
        remedy = (
            "this host or its container forbids namespaces: start the container with --cap-add SYS_ADMIN --cap-add "
            "NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or name an HTTP backend"
        )
    return f"sandbox: expected bubblewrap to start a jail, found {words.strip()[-300:]!r}; {remedy}"

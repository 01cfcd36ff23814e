"""Which files of this host a jail sees: the interpreter, its standard library, and the C libraries they load.

Inside, they lie in one place whatever the host's layout (pyenv, Debian, conda, uv), so that a path there says
nothing about the host: /usr/bin/python3, /usr/lib/pythonX.Y, /usr/lib/*.so*.
"""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

from r1jax.sandbox.jobs import PYTHON, SandboxUnavailable

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
INSIDE_PYTHON = f"/usr/bin/{PYTHON}"
INSIDE_LIBRARIES = "/usr/lib"
INSIDE_STDLIB = f"{INSIDE_LIBRARIES}/{VERSION}"
HIDDEN = ("site-packages", "dist-packages")  # of the standard library's folder
PROBE_SECONDS = 60.0

# Loads every extension module of the standard library and names all objects that this brought in, each by the
# path that the loader was asked for: the one that it will ask for inside. libgcc_s comes with a thread's end.
PROBE = """
import ctypes, glob, os
class Info(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]
def show(info, size, data):
    if info.contents.name:
        print(os.fsdecode(info.contents.name))
    return 0
stdlib = os.path.dirname(os.__file__)
for name in ["libgcc_s.so.1", *sorted(glob.glob(stdlib + "/lib-dynload/*.so"))]:
    try:
        any(left_out in name for left_out in ("/_tkinter", "/_test", "/nis.")) or ctypes.CDLL(name)
    except OSError:
        pass  # a module whose library this host lacks does not work here, and so not inside
ctypes.CDLL(None).dl_iterate_phdr(
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_void_p)(show), None
)
"""


@functools.cache
def mounts() -> tuple[tuple[str, str], ...]:
    """(path on the host, path inside), all to be mounted read-only; SandboxUnavailable when there is no such Python."""
    python = pathlib.Path(sys.base_prefix) / "bin" / VERSION
    stdlib = pathlib.Path(os.__file__).parent
    if not python.exists() or not (stdlib / "lib-dynload").is_dir():
        raise SandboxUnavailable(
            f"sandbox: expected an interpreter at {python} with its extension modules in {stdlib / 'lib-dynload'}, "
            "found none; run with a Python installed under one prefix"
        )
    return (
        (os.path.realpath(python), INSIDE_PYTHON),
        (str(stdlib), INSIDE_STDLIB),
        *_library_mounts(os.path.realpath(python), str(stdlib)),
    )


def hidden() -> Iterator[str]:
    """Folders below those that are to be covered by an empty one: installed packages are no standard library."""
    stdlib = pathlib.Path(os.__file__).parent
    return (f"{INSIDE_STDLIB}/{name}" for name in HIDDEN if (stdlib / name).is_dir())


def _library_mounts(python: str, stdlib: str) -> Iterator[tuple[str, str]]:
    probe = subprocess.run(
        [python, "-I", "-S", "-c", PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
    )
    if probe.returncode != 0:
        raise SandboxUnavailable(f"sandbox: {python} does not load its own modules: {probe.stderr.strip()[-500:]}")
    for path in dict.fromkeys(probe.stdout.splitlines()):
        name = os.path.basename(path)
        if not os.path.isfile(path) or path.startswith(f"{stdlib}/"):
            continue  # the kernel's own object, or one that is mounted with its folder
        # The loader's path is written in every program; the rest is found by LD_LIBRARY_PATH.
        yield path, path if name.startswith("ld-") else f"{INSIDE_LIBRARIES}/{name}"

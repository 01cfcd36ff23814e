"""System calls that a jail must not have, each as a program that tries it; and what hostile programs share."""

import os
from typing import NamedTuple

from r1jax.sandbox.jobs import Status

PREAMBLE = """\
import ctypes, errno, json, os, signal, socket, sys, time
host = json.load(sys.stdin)
libc = ctypes.CDLL(None, use_errno=True)

def attempt(act, *arguments):
    try:
        value = act(*arguments)
    except (OSError, ValueError) as error:
        print("HELD", error)
    else:
        print("ESCAPED", value)

def system_call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments)) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def read(path):
    with open(path, "rb") as file:
        return file.read(100)
"""


class Hostile(NamedTuple):
    source: str
    expected: frozenset[Status]  # FINISHED: only together with the word HELD, or with an exit code other than 0


def ends(source: str, *expected: Status) -> Hostile:
    """A program that is never to end well."""
    return Hostile(PREAMBLE + source, frozenset(expected))


def reaches(act: str) -> Hostile:
    """A program that is refused something, and goes on."""
    return Hostile(PREAMBLE + act, frozenset([Status.FINISHED]))


# System calls that must not exist: number on x86-64 and on aarch64, arguments.
CALLS = {
    "ptrace": (101, 117, 16, 1, 0, 0),
    "process_vm_readv": (310, 270, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 271, 1, 0, 0, 0, 0, 0),
    "kcmp": (312, 272, 1, 1, 0, 0, 0),
    "pidfd_open": (434, 434, 1, 0),
    "pidfd_getfd": (438, 438, 0, 0, 0),
    "process_madvise": (440, 440, 0, 0, 0, 0, 0),
    "bpf": (321, 280, 0, 0, 0),
    "io_uring_setup": (425, 425, 1, 0),
    "userfaultfd": (323, 282, 0),
    "perf_event_open": (298, 241, 0, 0, -1, -1, 0),
    "add_key": (248, 217, 0, 0, 0, 0, 0),
    "request_key": (249, 218, 0, 0, 0, 0),
    "keyctl": (250, 219, 0, 0, 0, 0, 0),
    "unshare user": (272, 97, 0x10000000),
    "unshare mounts": (272, 97, 0x00020000),
    "setns": (308, 268, 0, 0),
    "clone user": (56, 220, 0x10000000 | 17, 0, 0, 0, 0),
    "clone network": (56, 220, 0x40000000 | 17, 0, 0, 0, 0),
    "clone3": (435, 435, 0, 0),
    "mount": (165, 40, 0, 0, 0, 0, 0),
    "umount": (166, 39, 0, 0),
    "pivot_root": (155, 41, 0, 0),
    "open_tree": (428, 428, -100, 0, 1),
    "move_mount": (429, 429, 0, 0, 0, 0, 0),
    "fsopen": (430, 430, 0, 0),
    "mount_setattr": (442, 442, 0, 0, 0, 0, 0),
    "open_by_handle_at": (304, 265, -100, 0, 0),
    "name_to_handle_at": (303, 264, -100, 0, 0, 0, 0),
    "fanotify_init": (300, 262, 0, 0),
    "kexec_load": (246, 104, 0, 0, 0, 0),
    "init_module": (175, 105, 0, 0, 0),
    "finit_module": (313, 273, 0, 0, 0),
    "delete_module": (176, 106, 0, 0),
    "reboot": (169, 142, 0, 0, 0, 0),
    "syslog": (103, 116, 3, 0, 0),
    "settimeofday": (164, 170, 0, 0),
    "clock_adjtime": (305, 266, 0, 0),
    "swapon": (167, 224, 0, 0),
    "acct": (163, 89, 0),
    "quotactl": (179, 60, 0, 0, 0, 0),
    "memfd_create": (319, 279, 0, 0),
    "memfd_secret": (447, 447, 0),
    "shmget": (29, 194, 0, 4096, 0o1600),
    "semget": (64, 190, 0, 1, 0o1600),
    "msgget": (68, 186, 0, 0o1600),
    "mq_open": (240, 180, 0, 0, 0, 0),
    "mlock": (149, 228, 0, 0),
    "vmsplice": (278, 75, 0, 0, 0, 0),
    "sync": (162, 81),
    "personality": (135, 92, 0x0400000),
    "seccomp": (317, 277, 1, 0, 0),
    "sched_setaffinity": (203, 122, 0, 0, 0),
}
COLUMN = {"x86_64": 0, "aarch64": 1}.get(os.uname().machine)


def of_call(numbers: tuple[int, ...]) -> Hostile:
    arguments = ", ".join(map(str, (numbers[COLUMN], *numbers[2:])))
    return Hostile(
        PREAMBLE + f"try:\n    system_call({arguments})\n    print('ESCAPED')\nexcept OSError as error:\n"
        "    print('HELD' if error.errno == errno.ENOSYS else 'ESCAPED', error)",
        frozenset([Status.FINISHED]),
    )


CALLING = {} if COLUMN is None else {f"calls {name}": of_call(numbers) for name, numbers in CALLS.items()}

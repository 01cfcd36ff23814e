"""A user id for each jail that runs at one time, when we are root: what the kernel counts by user is then the jail's.

The number of processes is limited by user and not by jail; and a process of another user cannot be signalled,
traced or given a priority, whatever else may have been forgotten.
"""

from __future__ import annotations

import pathlib
import socket

from r1jax.sandbox.jobs import SandboxUnavailable

FIRST_UID = 1_879_100_000  # systemd's list of ranges names no use for what lies above 1879048191 and below 2^31
MOST_UIDS = 512  # jails at one time on one host
UID_MAP = pathlib.Path("/proc/self/uid_map")


class UserId:
    """A user id that no other jail of this host has as long as this object is not closed.

    An abstract socket's name is the lock: it needs no file, and it goes with the process that holds it.
    """

    def __init__(self):
        first = _first_uid(UID_MAP.read_text())
        self._lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for uid in range(first, first + MOST_UIDS):
            try:
                self._lock.bind(f"\0r1jax-sandbox-uid-{uid}")
            except OSError:  # taken
                continue
            self.uid = uid
            return
        self._lock.close()
        raise SandboxUnavailable(
            f"sandbox: expected one of {MOST_UIDS} user ids to be free, found jails in all of them"
        )

    def close(self) -> None:
        self._lock.close()


def _first_uid(uid_map: str) -> int:
    """FIRST_UID, or in a container that knows fewer ids the start of the last MOST_UIDS but the very last ones."""
    ends = []
    for line in uid_map.splitlines():
        inside, _, count = map(int, line.split())
        if inside <= FIRST_UID and inside + count >= FIRST_UID + MOST_UIDS:
            return FIRST_UID
        if count >= 2 * MOST_UIDS:
            ends.append(inside + count)
    if not ends:
        raise SandboxUnavailable(
            f"sandbox: expected {2 * MOST_UIDS} user ids in this container for jails, found {uid_map.split()}; give it "
            "a wider id mapping, or run as a plain user"
        )
    return max(ends) - 2 * MOST_UIDS  # nobody (65534) lies behind them

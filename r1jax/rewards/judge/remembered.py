"""Asked once, though many threads want to know: equal short answers are common within a group."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any


class Remembered:
    """Values by key, the latest `most` of them; a key that is being computed is waited for."""

    def __init__(
        self, compute: Callable[[Sequence[Any]], Sequence[Any]], worth_keeping: Callable[[Any], bool], most: int
    ):
        self._compute = compute
        self._worth_keeping = worth_keeping
        self._most = most
        self._lock = threading.Lock()
        self._futures: dict[Hashable, concurrent.futures.Future] = {}

    def __call__(self, keys: Sequence[Hashable]) -> list[Any]:
        """The value of each key; those that are not there are computed in one call, in this thread.

        What `compute` raises is raised here and in all threads that wait for one of its keys; such keys, and
        values not worth keeping, are computed anew when they are asked for again.
        """
        with self._lock:
            mine = [key for key in dict.fromkeys(keys) if key not in self._futures]
            self._futures.update((key, concurrent.futures.Future()) for key in mine)
            futures = [self._futures[key] for key in keys]
            computed = [self._futures[key] for key in mine]
        try:
            values = self._compute(mine) if mine else []
        except BaseException as error:
            self._forget(mine)
            for future in computed:
                future.set_exception(error)
            raise
        self._forget([key for key, value in zip(mine, values, strict=True) if not self._worth_keeping(value)])
        for future, value in zip(computed, values, strict=True):
            future.set_result(value)
        return [future.result() for future in futures]

    def _forget(self, keys: Sequence[Hashable]) -> None:
        with self._lock:
            for key in keys:
                self._futures.pop(key)
            if len(self._futures) > self._most:
                settled = [key for key, future in self._futures.items() if future.done()]
                for key in settled[: len(self._futures) - self._most]:
                    self._futures.pop(key)

"""An asyncio loop in a thread of its own, for callers that are not asynchronous.

One deadline over connecting, headers and body is a matter of cancelling, which asyncio can do and blocking sockets
cannot: their timeouts begin anew with each byte.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any

CLOSE_SECONDS = 2.0  # for the thread to end: a look-up of a host's name cannot be cancelled


class BackgroundLoop:
    """Starts at once; `close` cancels what still runs. The thread is a daemon: it keeps no process alive."""

    def __init__(self, name: str):
        self._lock = threading.Lock()  # what is begun under it is begun before the end, and cancelled there
        self._closed = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()
        self._ready.wait()

    def run(self, coroutine: Coroutine) -> Any:
        """The coroutine's result. Whatever interrupts the wait (Ctrl-C) cancels it; RuntimeError after `close`."""
        with self._lock:
            if self._closed:
                coroutine.close()
                raise RuntimeError("the loop is closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise RuntimeError("the loop was closed while a call ran") from error
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends the loop; a thread that does not end in CLOSE_SECONDS is left to end by itself."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_SECONDS)

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()

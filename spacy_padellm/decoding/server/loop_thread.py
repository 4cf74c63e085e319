"""An event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for synchronous callers. It cannot be used after a fork."""

    def __init__(self, name: str, on_close: Callable[[], Awaitable[None]]) -> None:
        """Start the thread.

        name (str): The thread's name.
        on_close (Callable): Called on the loop when this object is no longer used,
            after the coroutines in progress were cancelled.
        """
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=_run, args=(self._loop,), name=name, daemon=True
        )
        thread.start()
        weakref.finalize(self, _close, self._loop, thread, on_close, self.pid)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the event loop.

        work (Coroutine): The coroutine.
        RETURNS (Future): Its result.
        """
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _close(
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
    on_close: Callable[[], Awaitable[None]],
    pid: int,
) -> None:
    """Cancel the coroutines in progress, and end the thread."""
    if os.getpid() != pid:
        return  # a forked process has its parent's sockets, but not the thread

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await on_close()
        loop.stop()

    asyncio.run_coroutine_threadsafe(end(), loop)
    if threading.current_thread() is not thread:
        thread.join(timeout=5)

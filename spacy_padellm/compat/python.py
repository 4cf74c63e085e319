"""Uses of Python's standard library that its documentation does not promise."""

from __future__ import annotations

from multiprocessing.context import get_spawning_popen
from typing import Any


def renew_lock(lock: Any) -> None:
    """Make a lock free in a forked process, whoever held it in the parent.

    Seen on Python 3.11: `threading` and `logging` renew their own locks this way.

    lock (threading.RLock): The lock.
    """
    lock._at_fork_reinit()


def is_starting_process() -> bool:
    """Whether this thread is pickling the arguments of a new process.

    Seen on Python 3.11: `multiprocessing` itself asks so where a lock is pickled.
    """
    return get_spawning_popen() is not None

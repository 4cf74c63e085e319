"""Locks that a forked process finds free."""

from __future__ import annotations

import os
import threading
import time
import weakref

from spacy_padellm.compat.python import renew_lock

# a fork waits for threads to leave their locks, so that the child finds whole what the
# locks guard; not for ever, as such a thread may wait for the forking one
FORK_WAIT_SECONDS = 10.0

_locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()
_held: list[threading.RLock] = []  # by the fork in progress
_one_fork = threading.RLock()


def make_lock() -> threading.RLock:
    """Make a lock that no thread of the parent holds in a forked process.

    A plain lock that another thread holds during a fork stays locked in the child for
    ever, because that thread is not there to release it.
    """
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def _hold_all() -> None:
    """Take all locks, or as many as are free when the time is over.

    Other threads may take two of them in another order: so none is waited for with
    others in hand.
    """
    end = time.monotonic() + FORK_WAIT_SECONDS
    _one_fork.acquire()
    todo = list(_locks)
    while todo:
        lock = todo.pop()
        left = max(end - time.monotonic(), 0)
        if lock.acquire(timeout=0 if _held else left):
            _held.append(lock)
        elif _held and left:
            todo = [*_release_all(), *todo, lock]


def _release_all() -> list[threading.RLock]:
    """Release the locks that this fork holds; returns them."""
    released = _held[:]
    _held.clear()
    for lock in released:
        lock.release()
    return released


def _leave_in_parent() -> None:
    _release_all()
    _one_fork.release()


def _leave_in_child() -> None:
    for lock in _locks:
        # a lock of the forking thread itself stays its own
        if lock.acquire(blocking=False):
            lock.release()
        else:
            renew_lock(lock)
    _release_all()
    _one_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_hold_all,
        after_in_parent=_leave_in_parent,
        after_in_child=_leave_in_child,
    )

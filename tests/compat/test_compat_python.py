"""The undocumented behaviour of Python that `compat.python` relies on."""

from __future__ import annotations

import multiprocessing as mp
import pickle
import threading
from typing import Any, ClassVar

import pytest

from spacy_padellm.compat.python import is_starting_process, renew_lock


def test_compat_renewed_lock_is_free() -> None:
    lock, free = threading.RLock(), []
    lock.acquire()
    renew_lock(lock)
    thread = threading.Thread(target=lambda: free.append(lock.acquire(timeout=1)))
    thread.start()
    thread.join()
    assert free == [True]


class Asking:
    """Notes whether it is pickled for a new process."""

    answers: ClassVar[list[bool]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        self.answers.append(is_starting_process())
        return Asking, ()


@pytest.mark.slow
def test_compat_starting_a_process_is_known_while_its_arguments_are_pickled() -> None:
    Asking.answers.clear()
    pickle.dumps(Asking())
    child = mp.get_context("spawn").Process(target=str, args=(Asking(),))
    child.start()
    child.join()
    assert Asking.answers == [False, True]

"""Processes that are forked while another thread is at work."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import spacy
import torch
from conftest import make_lm

from spacy_padellm import locks
from spacy_padellm.decoding import replicas
from spacy_padellm.decoding.server import decoder as server_decoder
from spacy_padellm.lm import loading
from spacy_padellm.lm.handle import shared
from spacy_padellm.prompt import token_strings

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork"),
    # from Python 3.12 on, about a fork while there are threads
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]
LOCKS: dict[str, Callable[[], Any]] = {
    "model": lambda: make_lm("llama").lock,
    "loading": lambda: loading._loading_lock,
    "sharing": lambda: shared._sharing_lock,
    "tokenizer": lambda: token_strings._tokenizer_lock,
    "copying": lambda: replicas._copying,
    "connecting": lambda: server_decoder._connecting,
}
WAIT_SECONDS = 60


def ends_well(work: Callable[[], object]) -> bool:
    """Whether a forked process does its work; one that hangs is killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@contextmanager
def held_by_a_thread(lock: Any, *, seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold a lock in another thread, for so long or until the block ends."""
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            leave.wait(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield
    finally:
        leave.set()
        thread.join()


def take(lock: Any) -> None:
    if not lock.acquire(timeout=5):
        raise TimeoutError
    lock.release()


@pytest.mark.parametrize("name", LOCKS)
def test_locks_of_a_thread_that_leaves_soon_are_free_in_a_child(name: str) -> None:
    lock = LOCKS[name]()
    with held_by_a_thread(lock, seconds=0.2):
        assert ends_well(lambda: take(lock))


@pytest.mark.parametrize("name", LOCKS)
def test_locks_of_a_thread_that_stays_are_free_in_a_child(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "FORK_WAIT_SECONDS", 0.1)
    lock = LOCKS[name]()
    with held_by_a_thread(lock):
        assert ends_well(lambda: take(lock))


def test_locks_of_the_forking_thread_stay_its_own() -> None:
    lock = locks.make_lock()

    def give_back() -> None:
        lock.release()
        with held_by_a_thread(lock):
            pass

    with lock:
        assert ends_well(give_back)


def test_locks_taken_one_inside_the_other_do_not_stop_a_fork() -> None:
    first, second, ended = locks.make_lock(), locks.make_lock(), threading.Event()

    def work() -> None:
        while not ended.is_set():
            with first, second:
                time.sleep(0.001)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert all(ends_well(lambda: take(second)) for _ in range(10))
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("threads", [1, 2])
def test_locks_children_forked_while_a_thread_decodes_decode_the_same(
    threads: int,
) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": {"name": "bundled-en-sm"}})
    texts, ended = ["Anna Smith flew to Oslo with Reuters."] * 8, threading.Event()

    def read() -> list[list[tuple[str, str]]]:
        docs = nlp.pipe(texts)
        return [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs]

    def work() -> None:
        while not ended.is_set():
            read()

    def check() -> None:
        if read() != expected:
            raise AssertionError

    before = torch.get_num_threads()
    # those of OpenMP stay in the parent, and a child that counts on them never ends
    torch.set_num_threads(threads)
    expected = read()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert any(expected)
        assert all(ends_well(check) for _ in range(4))
    finally:
        ended.set()
        thread.join()
        torch.set_num_threads(before)

"""The progress bar of the commands: texts, texts per second, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")


@contextmanager
def progress(total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if the output is a terminal.

    total (int | None): The number of texts in the run; None if it is not known.
    done (int): The number of texts that were done before.
    YIELDS (Callable[[int], None]): Adds a number of texts to the progress.
    """
    # disable=None: show the bar on terminals only
    with tqdm(total=total, initial=done, unit=" texts", disable=None) as bar:
        yield bar.update


def count_progress(items: Iterable[_Item], total: int | None = None) -> Iterator[_Item]:
    """Pass items on, each of which is one text of a progress bar."""
    with progress(total) as report:
        for item in items:
            yield item
            report(1)

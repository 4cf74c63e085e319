"""The progress bar: texts, texts a second, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, and nothing elsewhere.

    total (int): Texts of the run.
    done (int): Texts of shards that are finished already.
    YIELDS (Callable[[int], None]): Takes how many more texts were read.
    """
    # None: only if it is a terminal
    with tqdm(total=total, initial=done, unit=" texts", disable=None) as bar:
        yield bar.update

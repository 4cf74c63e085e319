"""The progress bar: texts, texts per second, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if the output is a terminal.

    total (int): The number of texts in the run.
    done (int): The number of texts in finished shards.
    YIELDS (Callable[[int], None]): Adds a number of texts to the progress.
    """
    # disable=None: show the bar on terminals only
    with tqdm(total=total, initial=done, unit=" texts", disable=None) as bar:
        yield bar.update

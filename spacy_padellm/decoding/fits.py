"""Whether a text fits the model's context, with all that is asked about it."""

from __future__ import annotations

import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from functools import partial

from spacy_padellm.decoding.base import DecodeJob, Decoder, Remote, Sized
from spacy_padellm.decoding.limits import mention_room

MENTION_TOKENS = 64  # room for a mention, if the decoder does not say what it needs


class Fits:
    """Tells whether a text fits the model. The model is asked for at the first text.

    While a `Remote` cannot be asked, all texts fit: their own requests tell what is
    wrong. It is asked again at a later text, after as long as it took to ask.
    """

    def __init__(
        self, get_job: Callable[[], DecodeJob], *, decoder: Decoder | None = None
    ) -> None:
        """Keep how to get the model.

        get_job (Callable[[], DecodeJob]): Returns the model with its prompt and labels.
            All texts fit where there are no labels, or no weights and no `Remote`.
        decoder (Decoder | None): What decodes the texts; a `Remote` is asked for its
            context, and one that is `Sized` for the room that its answers need.
        """
        self._get_job = get_job
        self._remote = decoder if isinstance(decoder, Remote) else None
        self._sized = decoder if isinstance(decoder, Sized) else None
        self._room: float | None = None
        self._ask_again = 0.0  # not before this time
        self._copies = 1

    def __call__(self, text: str) -> bool:
        """Whether a text fits.

        text (str): The text, as the model gets it.
        RAISES (ValueError): If the model cannot be loaded.
        """
        start = time.monotonic()
        if self._room is None and start >= self._ask_again:
            self._room = self._measure()
            now = time.monotonic()
            self._ask_again = now + (now - start)
        if self._room is None:
            return True
        # a token has at least one byte
        most = self._copies * len(text.encode("utf8", "replace"))
        return most <= self._room or (
            self._in_turn(partial(_count_tokens, self._get_job(), text)) <= self._room
        )

    def _measure(self) -> float | None:
        """The most tokens that a text may have, with all its copies.

        RETURNS (float | None): None if the `Remote` cannot be asked now.
        """
        job = self._get_job()
        context = None
        if job.lm is not None:
            context = job.lm.context
        elif job.labels and self._remote:
            try:
                context = self._remote.context(job.prompt)
            except (ConnectionError, ValueError):
                return None
        if not job.labels or context is None:
            return float("inf")
        self._copies = job.prompt.prompt.copies
        return self._in_turn(partial(self._measure_room, job, context))

    def _measure_room(self, job: DecodeJob, context: int) -> int:
        """The most tokens that a text may have in a context, with all its copies."""
        prompts = job.prompt.longest_count_prompt(tuple(job.labels.values()))
        copies = job.prompt.prompt.copies
        if self._sized:
            answer = self._sized.answer_room(job, context)
        else:
            answer = mention_room(MENTION_TOKENS, context)

        def needed(size: int) -> int:
            return prompts + size + answer(-(-size // copies))

        sizes = range(min(context, sys.maxsize - 1) + 1)
        room = bisect_right(sizes, context, key=needed) - 1
        # at least a token, so that prompts that do not fit are reported as such
        return max(copies, room)

    def _in_turn(self, count: Callable[[], int]) -> int:
        return self._remote.in_turn(count) if self._remote else count()


def _count_tokens(job: DecodeJob, text: str) -> int:
    """The tokens of a text, with all its copies, in the longest prompt."""
    names = tuple(job.labels.values())
    (prompts,) = job.prompt.count_prompts([text], names)
    longest = max(map(len, prompts.sequences))
    return longest - job.prompt.longest_count_prompt(names)

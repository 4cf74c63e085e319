"""Whether a text fits the model's context, with all that is asked about it."""

from __future__ import annotations

from collections.abc import Callable

from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS

_MENTION_TOKENS = 64  # room for a mention, at most an eighth of the context


class Fits:
    """Tells whether a text fits the model. The model is asked for at the first text."""

    def __init__(self, get_job: Callable[[], DecodeJob]) -> None:
        """Keep how to get the model.

        get_job (Callable[[], DecodeJob]): Returns the model with its prompt and labels.
            All texts fit where there are no labels, or no weights: a model server has
            its own check.
        """
        self._get_job = get_job
        self._room: float | None = None

    def __call__(self, text: str) -> bool:
        """Whether a text fits.

        text (str): The text, as the model gets it.
        RAISES (ValueError): If the model cannot be loaded.
        """
        if self._room is None:
            job = self._get_job()
            checked = job.labels and job.lm is not None
            self._room = _measure_room(job) if checked else float("inf")
        # a token has at least one byte
        return len(text.encode("utf8", "replace")) <= self._room or (
            _count_tokens(self._get_job(), text) <= self._room
        )


def _measure_room(job: DecodeJob) -> int:
    """The most tokens that a text may have."""
    context = job.model.context
    (branches,) = job.prompt.count_branches(["a"], list(job.labels.values()))
    start, end = branches.text
    prompts = len(branches.root) - (end - start) + max(map(len, branches.labels))
    mention = min(_MENTION_TOKENS, context // 8)
    # at least a token, so that prompts that do not fit are reported as such
    return max(1, context - prompts - 2 * MAX_COUNT_TOKENS - mention)


def _count_tokens(job: DecodeJob, text: str) -> int:
    (branches,) = job.prompt.count_branches([text], list(job.labels.values()))
    return branches.text[1] - branches.text[0]

"""A decoder that keeps the mentions that another decoder yields."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from spacy_padellm.decoding.base import (
    DecodeJob,
    Decoder,
    DecodeResult,
    Remote,
    Sized,
)
from spacy_padellm.decoding.fits import MENTION_TOKENS
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.limits import mention_room
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens

_T = TypeVar("_T")


@dataclass(slots=True)
class Recorder:
    """Yields the results of another decoder, and keeps the mentions of each text.

    It is a `Decoder` itself, so a pipe can run it in place of the other.

    decoder (Decoder): The other decoder.
    forced (ForcedOutputs | None): Used for jobs without forced outputs.
    found (dict[str, list[Mention]]): Text -> its mentions, if it could be decoded.
    """

    decoder: Decoder
    forced: ForcedOutputs | None = None
    found: dict[str, list[Mention]] = field(default_factory=dict)

    @property
    def needs_weights(self) -> bool:
        """See `Decoder`."""
        return self.decoder.needs_weights

    @property
    def output_format(self) -> str:
        """See `Decoder`."""
        return self.decoder.output_format

    @property
    def default_threshold(self) -> float:
        """See `Decoder`."""
        return self.decoder.default_threshold

    def context(self, prompt: PromptTokens) -> int | None:
        """See `Remote`; None if the other decoder is none."""
        remote = self.decoder
        return remote.context(prompt) if isinstance(remote, Remote) else None

    def in_turn(self, function: Callable[[], _T]) -> _T:
        """See `Remote`."""
        remote = self.decoder
        return remote.in_turn(function) if isinstance(remote, Remote) else function()

    def answer_room(self, job: DecodeJob, context: int) -> Callable[[int], int]:
        """See `Sized`; for a mention of 64 tokens if the other decoder is none."""
        sized = self.decoder
        if isinstance(sized, Sized):
            return sized.answer_room(job, context)
        return mention_room(MENTION_TOKENS, context)

    def stream(self, job: DecodeJob, texts: Iterable[str]) -> Iterator[DecodeResult]:
        """See `Decoder`."""
        decoding: deque[str] = deque()

        def recorded() -> Iterator[str]:
            for text in texts:
                decoding.append(text)
                yield text

        job = replace(job, forced=job.forced or self.forced)
        # the decoder looks ahead, but its results are in the order of the texts
        for result in self.decoder.stream(job, recorded()):
            text = decoding.popleft()
            if not isinstance(result, Exception):
                self.found[text] = result
            yield result

"""A decoder that notes what another one gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from spacy_padellm.decoding.base import Decoder, DecodeResult
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens


@dataclass(slots=True)
class Recorder:
    """Gives what another decoder gives, and notes the mentions of each text.

    A Decoder itself, so that a pipe runs it as it runs any other.

    decoder (Decoder): The other decoder.
    forced (ForcedOutputs | None): Answers to give instead of the model's, if none are
        given.
    found (dict[str, list[Mention]]): Text -> its mentions, if it could be read.
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

    def stream(
        self,
        lm: LanguageModel | None,
        prompt: PromptTokens,
        texts: Iterable[str],
        labels: Mapping[str, str],
        *,
        forced: ForcedOutputs | None = None,
    ) -> Iterator[DecodeResult]:
        """See `Decoder`."""
        asked: list[str] = []

        def noted() -> Iterator[str]:
            for text in texts:
                asked.append(text)
                yield text

        forced = forced or self.forced
        stream = self.decoder.stream(lm, prompt, noted(), labels, forced=forced)
        # the decoder reads ahead, but gives the texts in order
        for place, found in enumerate(stream):
            if not isinstance(found, Exception):
                self.found[asked[place]] = found
            yield found

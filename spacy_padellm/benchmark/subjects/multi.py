"""PaDeLLM-Multi as the paper simulates it: one sequence per GPU, the slowest counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from spacy_padellm.benchmark.measuring.measure import wait
from spacy_padellm.decoding.base import Decoder, decode
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import PromptTokens


@dataclass(frozen=True, slots=True)
class SimulatedMulti:
    """Runs the sequences of a text one by one.

    The count of a label and one of its mentions are a sequence: the decoder is forced
    to find that mention only, and gets only that label.

    decoder (Decoder): Decodes each sequence separately.
    lm (LanguageModel): The model.
    prompt (PromptTokens): The prompt.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    golds (Mapping[str, GoldText]): Text -> its gold mentions.
    """

    decoder: Decoder
    lm: LanguageModel
    prompt: PromptTokens
    labels: Mapping[str, str]
    golds: Mapping[str, GoldText]

    def __call__(self, text: str) -> float:
        """Decode a text.

        text (str): The text.
        RETURNS (float): The seconds of its slowest sequence.
        """
        slowest = 0.0
        for label, name in self.labels.items():
            found = self.golds[text].mentions.get(label, ())
            for mentions in [[mention] for mention in found] or [[]]:
                forced = ForcedOutputs(self.prompt, {text: {label: mentions}})
                start = time.perf_counter()
                decode(
                    self.decoder,
                    self.lm,
                    self.prompt,
                    [text],
                    {label: name},
                    forced=forced,
                )
                wait(self.lm.device)
                slowest = max(slowest, time.perf_counter() - start)
        return slowest

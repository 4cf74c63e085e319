"""The subjects of a run: models with the decoders that run on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacy_padellm.benchmark.decoders import (
    BATCH,
    GRAPHS,
    MULTI,
    decoders_for,
    make_decoders,
)
from spacy_padellm.benchmark.measuring.measure import Entry, Measurement
from spacy_padellm.benchmark.subjects.multi import SimulatedMulti
from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.recorder import Recorder
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.placement import choose_placement
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.model_names import find_model
from spacy_padellm.lm.task.config import read_settings
from spacy_padellm.mention.dedup import deduplicate
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.mention.mention import Mention
from spacy_padellm.mention.string_scores import (
    StringScore,
    micro_average,
    score_by_label,
)
from spacy_padellm.pipeline.registry import make_tree_decoder
from spacy_padellm.prompt.tokens import PromptTokens

if TYPE_CHECKING:
    from spacy.language import Language


@dataclass(slots=True)
class Subject:
    """A model and its decoders.

    name (str): The model's name.
    lm (LanguageModel): The model.
    prompt (PromptTokens): Its prompt.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    decoders (dict[str, Recorder]): The decoders by name.
    nlp (Language | None): The pipeline that runs them; None without spaCy.
    prefix (str): Prefix of the decoders' names in the tables, if there are several
        models.
    """

    name: str
    lm: LanguageModel
    prompt: PromptTokens
    labels: Mapping[str, str]
    decoders: dict[str, Recorder]
    nlp: Language | None
    prefix: str = ""

    def entries(self) -> list[Entry]:
        """Each decoder, run by the pipeline or, without spaCy, directly."""
        make = self._directly if self.nlp is None else self._in_pipeline
        return [
            # hooks do not count passes of captured graphs
            Entry(self.prefix + name, name, *make(decoder), None)
            if name == GRAPHS
            else Entry(self.prefix + name, name, *make(decoder), self.lm)
            for name, decoder in self.decoders.items()
        ]

    def results(self, measured: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """The results of the decoders.

        measured (Mapping[str, Measurement]): Name in the tables -> result.
        RETURNS (dict[str, Measurement]): Name of the decoder -> result, of those that
            were measured.
        """
        return {
            name: measured[self.prefix + name]
            for name in self.decoders
            if self.prefix + name in measured
        }

    def use(self, decoder: Recorder) -> Any:
        """Set the pipeline's decoder.

        decoder (Recorder): The decoder.
        RETURNS (Language | None): The pipeline.
        """
        from spacy_padellm.benchmark.subjects.pipelines import pipe_of

        assert self.nlp is not None
        pipe_of(self.nlp).decoder = decoder
        return self.nlp

    def _in_pipeline(
        self, decoder: Recorder
    ) -> tuple[Callable[[str], None], Callable[[Sequence[str]], None]]:
        def run_alone(text: str) -> None:
            self.use(decoder)(text)

        def stream(texts: Sequence[str]) -> None:
            for _ in self.use(decoder).pipe(texts):
                pass

        return run_alone, stream

    def _directly(
        self, decoder: Recorder
    ) -> tuple[Callable[[str], None], Callable[[Sequence[str]], None]]:
        def stream(texts: Sequence[str]) -> None:
            decode(decoder, self.lm, self.prompt, texts, self.labels)

        def run_alone(text: str) -> None:
            stream([text])

        return run_alone, stream


def forced_subject(
    lm: LanguageModel,
    prompt: PromptTokens,
    labels: dict[str, str],
    golds: Sequence[GoldText],
    *,
    name: str,
    decoders: Sequence[str],
    lang: str | None,
) -> Subject:
    """Make a subject whose decoders are forced to generate the gold mentions.

    lm (LanguageModel): The model.
    prompt (PromptTokens): The prompt.
    labels (dict[str, str]): Label -> its name in the prompt.
    golds (Sequence[GoldText]): The texts and their gold mentions.
    name (str): The model's name.
    decoders (Sequence[str]): Names of decoders.
    lang (str | None): The pipeline's language; None runs the decoders without spaCy.
    """
    label_mentions = [found for gold in golds for found in gold.mentions.values()]
    counts = [len(mentions) for mentions in label_mentions]
    lengths = [
        len(prompt.mention_answer(mention))
        for mentions in label_mentions
        for mention in mentions
    ]
    forced = ForcedOutputs(prompt, {gold.text: gold.mentions for gold in golds})
    made = make_decoders(
        (name for name in decoders if name != MULTI),
        # the limits must not cut gold mentions
        max_mentions=max(32, *counts),
        max_mention_tokens=max(64, *lengths),
    )
    nlp = None
    if lang is not None:
        from spacy_padellm.benchmark.subjects.pipelines import forced_pipeline

        nlp = forced_pipeline(lm, prompt.prompt, labels, lang=lang)
    recorders = {name: Recorder(decoder, forced) for name, decoder in made.items()}
    return Subject(name, lm, prompt, labels, recorders, nlp)


def multi_entry(subject: Subject, golds: Sequence[GoldText]) -> Entry:
    """The paper's simulation of PaDeLLM-Multi on the model of a forced subject.

    subject (Subject): The subject.
    golds (Sequence[GoldText]): The texts and their gold mentions.
    """
    (decoder,) = make_decoders([BATCH], max_mention_tokens=subject.lm.context).values()
    simulated = SimulatedMulti(
        decoder,
        subject.lm,
        subject.prompt,
        subject.labels,
        {gold.text: gold for gold in golds},
    )
    return Entry(f"{MULTI} (simulated)", MULTI, simulated, None)


def trained_subject(
    name: str,
    *,
    decoders: Sequence[str],
    device: str | None,
    dtype: str | None,
    lang: str | None,
    prefix: str,
) -> Subject:
    """Load a trained model with the decoders that it was trained for.

    name (str): See `load_placed_pipeline`; without spaCy, the folder of a model.
    decoders (Sequence[str]): Names of decoders. Those with other prompts than the
        model was trained with are left out.
    device, dtype (str | None): The model's device and dtype; None keeps the configured
        ones.
    lang (str | None): Language of a new pipeline; None runs the decoders without spaCy.
    prefix (str): See `Subject`.
    RAISES (ValueError): If there is no such model.
    """
    if lang is not None:
        from spacy_padellm.benchmark.subjects.pipelines import (
            load_placed_pipeline,
            pipe_of,
        )

        nlp = load_placed_pipeline(name, lang=lang, device=device, dtype=dtype)
        nlp("The first text loads the model .")
        pipe = pipe_of(nlp)
        lm, prompt = pipe.handle.lm(), pipe.prompt
        assert prompt is not None
        labels, decoder = pipe.label_data, pipe.decoder
    else:
        nlp = None
        source = find_model(name)
        settings = read_settings(source) if isinstance(source, Path) else None
        if settings is None:
            raise ValueError(Errors.P168.format(name=name))
        placement = choose_placement(device or "auto", dtype or "auto")
        lm = load_model(name, device=placement.device, dtype=placement.dtype)
        lm.pack_weights(int8=placement.int8)
        # the decoder that the pipe has by default
        labels, prompt, decoder = settings.labels, settings.prompt, make_tree_decoder()
    decoder_of = decoders_for(decoder, decoders)
    recorders = {kind: Recorder(decoder) for kind, decoder in decoder_of.items()}
    return Subject(name, lm, lm.tokens_of(prompt), labels, recorders, nlp, prefix)


def share_found(decoder: Recorder, golds: Sequence[GoldText]) -> float | None:
    """The share of the gold mentions that a decoder found; None if there are none.

    decoder (Recorder): A decoder that has decoded the texts, not cut into windows.
    golds (Sequence[GoldText]): The texts and their gold mentions.
    """
    found = [decoder.found.get(gold.text, []) for gold in golds]
    score = _string_score(found, golds)
    return score.recall if score.gold else None


def string_f1(decoder: Recorder, golds: Sequence[GoldText]) -> float:
    """The paper's micro-F over the (label, string) pairs of each text.

    decoder (Recorder): A decoder that has decoded the texts, not cut into windows.
    golds (Sequence[GoldText]): The texts and their gold mentions.
    """
    found = [deduplicate(decoder.found.get(gold.text, [])) for gold in golds]
    return _string_score(found, golds).f


def _string_score(
    found: Sequence[Sequence[Mention]], golds: Sequence[GoldText]
) -> StringScore:
    predicted = [Counter((m.label, m.text) for m in mentions) for mentions in found]
    gold_counts = [
        Counter((label, m) for label, strings in gold.mentions.items() for m in strings)
        for gold in golds
    ]
    by_label = score_by_label(zip(predicted, gold_counts, strict=True))
    return micro_average(by_label.values())


def share_equal(decoder: Recorder, other: Recorder) -> float:
    """The share of the texts in which two decoders found the same mentions.

    The last results of each decoder are compared. They come from a stream, where a
    batch can change a near tie in low precision.

    decoder, other (Recorder): Decoders that have decoded the same texts.
    """

    def strings(found: Sequence[Mention]) -> list[tuple[str, int, str]]:
        return [(mention.label, mention.index, mention.text) for mention in found]

    same = [
        strings(found) == strings(other.found[text])
        for text, found in decoder.found.items()
    ]
    return sum(same) / len(same)

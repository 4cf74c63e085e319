"""Figures computed from the gold answers: floors and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from spacy_padellm.benchmark.measuring.measure import Measurement
from spacy_padellm.benchmark.results import floors
from spacy_padellm.benchmark.subjects.subjects import Subject, share_found
from spacy_padellm.decoding.base import Decoder
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.training.targets import make_training_trees


def add_figures(
    results: Mapping[str, Measurement],
    subject: Subject,
    golds: Sequence[GoldText],
    *,
    speed: floors.Speeds,
) -> dict[str, Any]:
    """Add floors and lengths to the results of a model's decoders.

    results (Mapping[str, Measurement]): Name of the decoder -> its result.
    subject (Subject): The model.
    golds (Sequence[GoldText]): The texts and their gold mentions.
    speed (floors.Speeds): The machine's speed for the model.
    RETURNS (dict[str, Any]): The model's facts.
    """
    weights = floors.sizes(subject.lm)
    forced = any(recorder.forced for recorder in subject.decoders.values())
    # with forced answers, tags are not used for drafts
    tags = bool(subject.lm.tags.inside) and not forced
    needs = floors.needs(subject.prompt, golds, subject.labels, tags=tags)
    alone = sum(floors.floor_alone(need, weights, speed) for need in needs)
    stream = sum(floors.floor_product(need, weights, speed) for need in needs)
    for name, result in results.items():
        recorder = subject.decoders[name]
        result.floor, result.stream_floor = alone, stream
        result.tokens_a_sequence, result.sequences = lengths(
            recorder, subject.prompt, golds, subject.labels
        )
        if recorder.forced is not None:
            result.emitted = share_found(recorder, golds)
    texts = len(golds)
    return {
        "name": subject.name,
        "parameters": sum(p.numel() for p in subject.lm.model.parameters()),
        "dtype": str(subject.lm.dtype).removeprefix("torch."),
        "int8": subject.lm.int8,
        "labels": dict(subject.labels),
        "weights": asdict(weights),
        "speeds": asdict(speed),
        "fewest_passes_a_text": sum(need.passes for need in needs) / texts,
        "tree_tokens_a_text": sum(need.tokens for need in needs) / texts,
        "floor_ms_alone": 1000 * alone / texts,
        "floor_ms_stream": 1000 * stream / texts,
    }


def lengths(
    decoder: Decoder,
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
) -> tuple[float, float]:
    """The length of a decoder's gold answers (the paper's Table 8).

    decoder (Decoder): The decoder.
    prompt (PromptTokens): The prompt.
    golds (Sequence[GoldText]): The texts and their gold mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (tuple[float, float]): Generated tokens of a sequence, including `<eos>`,
        and sequences of a text.
    """
    trees = make_training_trees(
        decoder.output_format, prompt, golds, labels, mention_prefix_loss=False
    )
    tokens = sum(sum(tree.weights) for tree in trees)
    ends = sum(
        weight
        for tree in trees
        for target, weight in zip(tree.targets, tree.weights, strict=True)
        if target == prompt.eos
    )
    return tokens / ends, ends / len(golds)

"""The decoders that are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

import torch

from spacy_padellm.decoding.base import Decoder
from spacy_padellm.decoding.baselines.augmented import AugmentedDecoder
from spacy_padellm.decoding.baselines.onestep import OneStepDecoder
from spacy_padellm.decoding.baselines.structured import StructuredDecoder
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.decoding.tree.pass_size import CPU_TOKENS

TREE = "tree"
BATCH = "batch"
BATCH_MANY = "batch-many"
STRUCT = "struct"
GRAPHS = "tree-graphs"
CASCADE = "tree-cascade"
# decoders with the same prompts, so that one model is trained for all of them
COUNT_THEN_MENTION = (TREE, GRAPHS, CASCADE, "tree-no-drafts", BATCH, BATCH_MANY)
MULTI = "multi"  # the paper's simulation with the batch decoder, measured separately
DECODERS: dict[str, Callable[[], Decoder]] = {
    TREE: TreeDecoder,
    GRAPHS: lambda: TreeDecoder(cuda_graphs=True),
    CASCADE: lambda: TreeDecoder(cascade_attention=True),
    "tree-no-drafts": lambda: TreeDecoder(draft_tokens=0),
    BATCH: BatchDecoder,
    BATCH_MANY: lambda: BatchDecoder(max_batch_tokens=CPU_TOKENS),
    MULTI: BatchDecoder,
    "onestep": OneStepDecoder,
    STRUCT: StructuredDecoder,
    "aug": AugmentedDecoder,
}


def default_decoders() -> list[str]:
    """All decoders; those with kernels of a GPU only if there is one."""
    left_out = () if torch.cuda.is_available() else (GRAPHS, CASCADE)
    return [name for name in DECODERS if name not in left_out]


def make_decoders(names: Iterable[str], **limits: int) -> dict[str, Decoder]:
    """Make decoders.

    names (Iterable[str]): Keys of DECODERS.
    limits (int): Settings such as `max_mentions`, for the decoders that have them.
    RETURNS (dict[str, Decoder]): The decoders by name.
    """
    made: dict[str, Decoder] = {}
    for name in names:
        decoder: Any = DECODERS[name]()
        known = {f.name for f in fields(decoder)}
        settings = {k: v for k, v in limits.items() if k in known}
        made[name] = replace(decoder, **settings)
    return made


def decoders_for(decoder: Decoder, names: Iterable[str]) -> dict[str, Decoder]:
    """Make the decoders with the same prompts as the decoder of a model.

    decoder (Decoder): The decoder that the model was trained with. It keeps its
        settings.
    names (Iterable[str]): Keys of DECODERS.
    RETURNS (dict[str, Decoder]): The decoders by name.
    """
    if not isinstance(decoder, TreeDecoder | BatchDecoder):
        kinds = (name for name, make in DECODERS.items() if make is type(decoder))
        return {next(kinds, type(decoder).__name__): decoder}
    decoders = make_decoders(
        (name for name in names if name in COUNT_THEN_MENTION),
        max_mentions=decoder.max_mentions,
        max_mention_tokens=decoder.max_mention_tokens,
    )
    if isinstance(decoder, TreeDecoder):
        trees = {
            "tree": decoder,
            GRAPHS: replace(decoder, cuda_graphs=True),
            CASCADE: replace(decoder, cascade_attention=True),
            "tree-no-drafts": replace(decoder, draft_tokens=0),
        }
        decoders = {name: trees.get(name, made) for name, made in decoders.items()}
    return decoders

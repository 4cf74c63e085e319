"""Functions for spaCy's registry that only gather settings."""

from __future__ import annotations

from spacy_padellm.decoding.base import Decoder
from spacy_padellm.decoding.batch import BatchDecoder
from spacy_padellm.decoding.tree import TreeDecoder
from spacy_padellm.prompt import Prompt, make_prompt
from spacy_padellm.training import TrainingSettings


def make_configured_prompt(
    preset: str = "paper-en",
    *,
    text: str | None = None,
    label: str | None = None,
    count: str | None = None,
    mention: str | None = None,
    none: str | None = None,
) -> Prompt:
    """`spacy-padellm.Prompt.v1`: a preset, with templates replaced where given."""
    given = {
        "text": text,
        "label": label,
        "count": count,
        "mention": mention,
        "none": none,
    }
    return make_prompt(preset, **{k: v for k, v in given.items() if v is not None})


def make_tree_decoder(
    *,
    max_mentions: int = 32,
    max_mention_tokens: int = 64,
    max_batch_tokens: int = 1024,
    draft_tokens: int = 6,
) -> Decoder:
    """`spacy-padellm.TreeDecoder.v1`; see `TreeDecoder`."""
    return TreeDecoder(
        max_mentions=max_mentions,
        max_mention_tokens=max_mention_tokens,
        max_batch_tokens=max_batch_tokens,
        draft_tokens=draft_tokens,
    )


def make_batch_decoder(
    *, max_mentions: int = 32, max_mention_tokens: int = 64
) -> Decoder:
    """`spacy-padellm.BatchDecoder.v1`; see `BatchDecoder`."""
    return BatchDecoder(
        max_mentions=max_mentions, max_mention_tokens=max_mention_tokens
    )


def make_training(
    *,
    mention_prefix_loss: bool = True,
    max_batch_tokens: int = 4096,
    gradient_checkpointing: bool = False,
) -> TrainingSettings:
    """`spacy-padellm.Training.v1`; see `TrainingSettings`."""
    return TrainingSettings(
        mention_prefix_loss=mention_prefix_loss,
        max_batch_tokens=max_batch_tokens,
        gradient_checkpointing=gradient_checkpointing,
    )

"""Functions in spaCy's registry: the prompt, the decoders and the training settings."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_padellm.decoding.base import Decoder
from spacy_padellm.decoding.baselines.augmented import AugmentedDecoder
from spacy_padellm.decoding.baselines.onestep import OneStepDecoder
from spacy_padellm.decoding.baselines.structured import StructuredDecoder
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.decoding.server.secrets import DEFAULT_KEY
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.devices.choose import check_devices
from spacy_padellm.prompt.template import Prompt, make_prompt
from spacy_padellm.training.settings import TrainingSettings


def make_configured_prompt(
    preset: str = "paper-en",
    *,
    text: str | None = None,
    label: str | None = None,
    count: str | None = None,
    mention: str | None = None,
    none: str | None = None,
    prefix_lm: bool = False,
) -> Prompt:
    """`spacy-padellm.Prompt.v1`: a preset, or a preset with some templates replaced.

    See `make_prompt`.
    """
    options = {
        "text": text,
        "label": label,
        "count": count,
        "mention": mention,
        "none": none,
    }
    templates = {k: v for k, v in options.items() if v is not None}
    return make_prompt(preset, prefix_lm=prefix_lm, **templates)


def make_tree_decoder(
    *,
    max_mentions: int = 32,
    max_mention_tokens: int = 64,
    max_batch_tokens: int | None = None,
    draft_tokens: int = 4,
    min_count_probability: float | None = 0.3,
    from_text: bool = True,
    tag_weight: float = 0.5,
    sure_tag_probability: float = 0.7,
    cuda_graphs: bool = False,
    devices: Sequence[str] = (),
) -> Decoder:
    """`spacy-padellm.TreeDecoder.v1`; see `TreeDecoder`.

    The defaults that differ from it gave the best results on development data.
    """
    check_devices(devices)
    return TreeDecoder(
        max_mentions=max_mentions,
        max_mention_tokens=max_mention_tokens,
        max_batch_tokens=max_batch_tokens,
        draft_tokens=draft_tokens,
        min_count_probability=min_count_probability,
        from_text=from_text,
        tag_weight=tag_weight,
        sure_tag_probability=sure_tag_probability,
        cuda_graphs=cuda_graphs,
        devices=tuple(devices),
    )


def make_batch_decoder(
    *,
    max_mentions: int = 32,
    max_mention_tokens: int = 64,
    max_batch_tokens: int | None = None,
    devices: Sequence[str] = (),
) -> Decoder:
    """`spacy-padellm.BatchDecoder.v1`; see `BatchDecoder`."""
    check_devices(devices)
    return BatchDecoder(
        max_mentions=max_mentions,
        max_mention_tokens=max_mention_tokens,
        max_batch_tokens=max_batch_tokens,
        devices=tuple(devices),
    )


def make_one_step_decoder(
    *, max_mentions: int = 32, max_batch_tokens: int = 1024
) -> Decoder:
    """`spacy-padellm.OneStepDecoder.v1`; see `OneStepDecoder`."""
    return OneStepDecoder(max_mentions=max_mentions, max_batch_tokens=max_batch_tokens)


def make_structured_decoder(
    *, max_mentions: int = 32, max_batch_tokens: int = 1024
) -> Decoder:
    """`spacy-padellm.StructuredDecoder.v1`; see `StructuredDecoder`."""
    return StructuredDecoder(
        max_mentions=max_mentions, max_batch_tokens=max_batch_tokens
    )


def make_augmented_decoder(
    *, max_mentions: int = 32, max_batch_tokens: int = 1024
) -> Decoder:
    """`spacy-padellm.AugmentedDecoder.v1`; see `AugmentedDecoder`."""
    return AugmentedDecoder(
        max_mentions=max_mentions, max_batch_tokens=max_batch_tokens
    )


def make_server_decoder(
    base_url: str,
    *,
    model: str | None = None,
    api_key_env: str = DEFAULT_KEY,
    max_mentions: int = 32,
    max_mention_tokens: int = 64,
    max_concurrency: int = 64,
    max_retries: int = 6,
    timeout: float = 120.0,
) -> Decoder:
    """`spacy-padellm.ServerDecoder.v1`; see `ServerDecoder`."""
    return ServerDecoder(
        base_url,
        model=model,
        api_key_env=api_key_env,
        max_mentions=max_mentions,
        max_mention_tokens=max_mention_tokens,
        max_concurrency=max_concurrency,
        max_retries=max_retries,
        timeout=timeout,
    )


def make_training(
    *,
    mention_prefix_loss: bool = True,
    max_batch_tokens: int = 4096,
    gradient_checkpointing: bool = False,
    muon: bool = False,
    tag_loss: float | None = None,
    quantized: bool | None = None,
) -> TrainingSettings:
    """`spacy-padellm.Training.v1`; see `TrainingSettings`."""
    return TrainingSettings(
        mention_prefix_loss=mention_prefix_loss,
        max_batch_tokens=max_batch_tokens,
        gradient_checkpointing=gradient_checkpointing,
        muon=muon,
        tag_loss=tag_loss,
        quantized=quantized,
    )

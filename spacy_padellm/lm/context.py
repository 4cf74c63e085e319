"""The length of the sequences that a model supports."""

from __future__ import annotations

from typing import Any

NO_LIMIT = 1 << 30
# the first is read first; the others are those of MPT, of decoders that have an encoder
# too, of MEGA, and of configs that come with a model's own code
_SETTINGS = (
    "max_position_embeddings",
    "max_seq_len",
    "max_target_positions",
    "max_positions",
    "n_positions",
    "n_ctx",
    "max_sequence_length",
    "seq_length",
    "model_max_length",
)


def context_of(config: Any) -> int:
    """Get the length of the longest sequence that a model supports, in tokens.

    config (transformers.PretrainedConfig): The model's config.
    RETURNS (int): The length; `NO_LIMIT` if the config has none, as those of recurrent
        models.
    """
    text_config = config.get_text_config()
    values = (getattr(text_config, name, None) for name in _SETTINGS)
    # XLNet's is -1
    numbers = (v for v in values if isinstance(v, int | float) and v > 0)
    return int(next(numbers, NO_LIMIT))

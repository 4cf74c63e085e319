"""How many tokens a forward pass takes, unless the user says it."""

from __future__ import annotations

import torch

from spacy_padellm.lm.language_model import LanguageModel

CACHE_SHARE = 4  # slots of the KV cache for each token of a pass

CPU_TOKENS = 1024  # more tokens do not make a CPU faster
_MOST_GPU_TOKENS = 16_384
_MEMORY_SHARE = 4  # the KV cache takes at most this part of the free memory


def pass_tokens(lm: LanguageModel) -> int:
    """Choose the tokens of a forward pass by the model's device and its free memory.

    lm (LanguageModel): The model.
    """
    if lm.device.type != "cuda":
        return CPU_TOKENS
    bytes_of_token = CACHE_SHARE * slot_bytes(lm)
    # a device holds the keys and values of its layers
    shares = lm.shares or {lm.device: 1.0}
    fitting = min(
        int(_free_memory(device) // _MEMORY_SHARE / (bytes_of_token * share))
        for device, share in shares.items()
    )
    return max(CPU_TOKENS, min(_MOST_GPU_TOKENS, fitting))


def _free_memory(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    # torch keeps the memory of earlier passes, to use it again
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free


def slot_bytes(lm: LanguageModel) -> int:
    """The bytes of a slot of the KV cache: keys and values of one token."""
    config = lm.model.config.get_text_config()
    heads = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(2 * config.num_hidden_layers * shared * size * lm.dtype.itemsize)

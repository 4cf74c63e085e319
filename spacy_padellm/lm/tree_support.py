"""Check whether a model can run on token trees, and say why if it cannot."""

from __future__ import annotations

import copy
import re
import warnings
import weakref
from collections.abc import Mapping
from typing import Any

import torch

from spacy_padellm.compat.peft import base_model
from spacy_padellm.compat.transformers import attention_name, set_attention
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.lm.files.load_errors import is_out_of_memory
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.locks import make_lock
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree

_reasons: weakref.WeakKeyDictionary[LanguageModel, str] = weakref.WeakKeyDictionary()
_asking = make_lock()
# kind of layer -> the setting that says how far its attention reaches
_WINDOWS = {
    "sliding_attention": "sliding_window",
    "chunked_attention": "attention_chunk_size",
}
_PROBE_VOCABULARY = 32
# the errors of models of other kinds, and MemoryError
_MISFITS = (
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    IndexError,
    KeyError,
    MemoryError,
)
# config settings that say which layer is of which kind
_LAYER_PATTERNS = "pattern|period|offset|interval|block_type|shared_layers|every"
# widths that attention does not depend on; shrinking them saves most of the time
_INNER_WIDTHS = ("intermediate_size", "moe_intermediate_size", "ffn_dim", "n_inner")
_warned: weakref.WeakKeyDictionary[LanguageModel, bool] = weakref.WeakKeyDictionary()


def why_no_tree(lm: LanguageModel, length: int) -> str:
    """Get the reason why a text must be decoded as separate sequences.

    lm (LanguageModel): The model.
    length (int): Length of the text's longest sequence in tokens.
    RETURNS (str): The reason; empty if a token tree can be used.
    RAISES (ValueError): If there is no memory to find out.
    """
    with _asking:  # replicas ask in threads, and a test draws random weights
        if lm not in _reasons:
            _reasons[lm] = _model_reason(lm)
    if _reasons[lm]:
        return _reasons[lm]
    for setting, limit in _limits(lm.model.config.get_text_config()).items():
        if length > limit:
            return Warnings.R103.format(length=length, setting=setting, limit=limit)
    return ""


def warn_unsupported(lm: LanguageModel, reason: str) -> None:
    """Log once per model why its texts are decoded as separate sequences.

    lm (LanguageModel): The model.
    reason (str): What `why_no_tree` returned.
    """
    if lm not in _warned:
        _warned[lm] = True
        logger.warning(Warnings.W103.format(reason=reason))


def _limits(config: Any) -> dict[str, int]:
    """The lengths, in tokens, from which on a tree is not what its sequences are.

    Attention then leaves out the first tokens, or positions are turned by other angles.

    config (transformers.PretrainedConfig): The config of the model's text part.
    RETURNS (dict[str, int]): Setting of the config -> its value, the shortest first.
    """
    kinds = getattr(config, "layer_types", None)
    used = {
        setting for kind, setting in _WINDOWS.items() if kinds is None or kind in kinds
    }
    if not getattr(config, "use_sliding_window", True):
        used.discard("sliding_window")
    found: dict[str, Any] = {name: getattr(config, name, None) for name in used}
    found |= _longrope_limit(config)
    found["floor_scale (less 1)"] = most_pass_tokens(config)
    limits = {name: limit for name, limit in found.items() if isinstance(limit, int)}
    return dict(sorted(limits.items(), key=lambda item: item[1]))


def most_pass_tokens(config: Any) -> int | None:
    """The most tokens of a pass over trees; None if there is no limit.

    Llama 4 scales the queries of layers without rotary embeddings, by a token's index
    in its pass where a tree has a depth.

    config (transformers.PretrainedConfig): The config of the model's text part.
    """
    tunes = getattr(config, "attn_temperature_tuning", False)
    if not tunes or all(getattr(config, "no_rope_layers", None) or ()):
        return None
    # the first tokens are all scaled alike
    return int(config.floor_scale) - 1


def _longrope_limit(config: Any) -> dict[str, Any]:
    """The length from which on longrope turns the positions of a whole pass further."""
    # transformers 5 has other parameters, which may be those of each kind of layer
    names = ("rope_parameters", "rope_scaling")
    settings = (getattr(config, name, None) for name in names)
    rope: Mapping[str, Any] = next(filter(None, settings), {})
    setting = "original_max_position_embeddings"
    for part in (rope, *(p for p in rope.values() if isinstance(p, Mapping))):
        if "longrope" in (part.get("rope_type"), part.get("type")):
            own = part.get(setting) or getattr(config, setting, None)
            return {setting: own or config.max_position_embeddings}
    return {}


def _model_reason(lm: LanguageModel) -> str:
    """Why a model cannot run on trees; empty if it can."""
    reason = Warnings.R102.format(kind=lm.model.config.model_type)
    try:
        # also where the user has set another device as torch's default
        with torch.device("cpu"):
            return "" if _supports_trees(lm) else reason
    except _MISFITS as error:  # it does not use transformers' attention interface
        if is_out_of_memory(error):
            raise ValueError(Errors.P1006.format(error=words_of(error))) from error
        if _is_of_gpu(error):
            raise
        return Warnings.R104.format(reason=reason, error=words_of(error))


def _is_of_gpu(error: Exception) -> bool:
    """Whether an error is that of a GPU, which says nothing about the model.

    It may be that of a kernel that was started before.
    """
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


def _supports_trees(lm: LanguageModel) -> bool:
    """Compare a small tree, run in two passes, with its two separate sequences."""
    stem, left, right = [1, 2, 3, 4, 5, 6], [7, 8, 9], [10, 11, 12]
    tree = TokenTree()
    root = tree.extend(ROOT, stem)
    cache = TreeKVCache()
    # models warn about positions and masks that they ignore
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = LanguageModel(
            _small_copy(lm.model), lm.tokenizer, fused_layers=lm.fused_layers
        )
        small.packed_logits(pack([tree], 0), [root], cache)
        ends = [tree.extend(root, branch) - len(stem) for branch in (left, right)]
        logits = small.packed_logits(pack([tree], 1), ends, cache)[0]
        for row, branch in enumerate((left, right)):
            sequence = torch.tensor([stem + branch])
            expected = small.model(sequence, use_cache=False).logits[0, -1]
            # rounding stays under 1 %, even with routed experts; a mask or position
            # that is ignored changes the logits by about half
            if not (logits[row] - expected).norm() < 0.01 * expected.norm():
                return False
    return True


def _small_copy(model: Any) -> Any:
    """Make a model of the same kind with random float32 weights, on the CPU.

    It has one layer of each kind and a small vocabulary. Whether trees work depends on
    the structure alone; rounding errors of large weights would hide the answer.
    """
    base = base_model(model)
    config = copy.deepcopy(base.config)
    text = config.get_text_config()
    text.vocab_size, text.pad_token_id = _PROBE_VOCABULARY, None
    kinds = getattr(text, "layer_types", None)
    if kinds:
        text.layer_types = list(dict.fromkeys(kinds))
        text.num_hidden_layers = len(text.layer_types)
    elif not any(re.search(_LAYER_PATTERNS, name) for name in vars(text)):
        text.num_hidden_layers = 1
    for name in _INNER_WIDTHS:
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, _PROBE_VOCABULARY)
    for part in (config, text):
        # other implementations need a GPU, or are those of a pass of another thread
        if attention_name(part) != "sdpa":
            set_attention(part, "eager")
    # drawn once, as drawing a large model's weights would take seconds
    noise = torch.randn(65_521, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        small = type(base)(config).float().eval()
    for parameter in small.parameters():
        if parameter.dim() > 1:
            values = noise.repeat(-(-parameter.numel() // len(noise)))
            # large enough to make the attention weights uneven
            values = values[: parameter.numel()] * parameter.shape[-1] ** -0.5
            parameter.copy_(values.view_as(parameter))
    return small

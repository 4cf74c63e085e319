"""Whether a model can read token trees, and why not."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import numpy as np
import torch

from spacy_padellm.errors import Warnings, logger
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree

_reasons: weakref.WeakKeyDictionary[LanguageModel, str] = weakref.WeakKeyDictionary()
_warned: weakref.WeakKeyDictionary[LanguageModel, bool] = weakref.WeakKeyDictionary()


def why_no_tree(lm: LanguageModel, length: int) -> str:
    """Why a text must be decoded as separate sequences.

    lm (LanguageModel): The model.
    length (int): Tokens of the text's longest sequence.
    RETURNS (str): The reason, empty if the tree will do.
    """
    if lm not in _reasons:
        _reasons[lm] = _model_reason(lm)
    if _reasons[lm]:
        return _reasons[lm]
    window = _sliding_window(lm.model.config)
    if window is not None and length > window:
        return Warnings.R103.format(length=length, window=window)
    return ""


def warn_unsupported(lm: LanguageModel, reason: str) -> None:
    """Say once for each model why it is decoded as separate sequences."""
    if lm not in _warned:
        _warned[lm] = True
        logger.warning(Warnings.W103.format(reason=reason))


def _sliding_window(config: Any) -> int | None:
    """The shortest sliding window of the model's layers, in tokens."""
    text = config.get_text_config()
    window = getattr(text, "sliding_window", None)
    used = getattr(text, "use_sliding_window", True)
    if not used or not isinstance(window, int):
        return None
    layers = getattr(text, "layer_types", None)
    if layers is not None and "sliding_attention" not in layers:
        return None
    return window


def _model_reason(lm: LanguageModel) -> str:
    if _reads_trees(lm):
        return ""
    return Warnings.R102.format(kind=lm.model.config.model_type)


def _reads_trees(lm: LanguageModel) -> bool:
    """Try it: a small tree in two passes against its two sequences."""
    vocabulary = lm.model.get_input_embeddings().weight.shape[0]
    ids = [1 + i % (vocabulary - 1) for i in range(12)]
    stem, left, right = ids[:6], ids[6:9], ids[9:12]
    tree = TokenTree()
    root = tree.extend(ROOT, stem)
    cache = TreeKVCache()
    training = lm.model.training
    try:
        lm.model.eval()
        # models warn of positions and masks that they do not take
        with lm.lock, torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lm.read(pack([tree], 0), [root], cache)
            reads = [tree.extend(root, branch) - len(stem) for branch in (left, right)]
            found = lm.read(pack([tree], 1), reads, cache)[0].float()
            for row, branch in enumerate((left, right)):
                sequence = torch.from_numpy(np.array([stem + branch]))
                output = lm.model(sequence.to(lm.device), use_cache=False)
                wanted = output.logits[0, -1].float()
                if not wanted.isfinite().all():
                    return True  # broken weights are told where they are used
                error = (found[row] - wanted).norm() / wanted.norm()
                # bf16 rounds to a hundredth; a mask or position not taken is off by
                # far more
                if not error < 0.05:
                    return False
    except torch.OutOfMemoryError:
        raise  # says nothing of the model
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError):
        return False  # the model's attention is not transformers' interface
    finally:
        lm.model.train(training)
    return True

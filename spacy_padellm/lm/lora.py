"""LoRA adapters (peft): put new ones on a model, or load those of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.load_errors import as_load_errors, check_complete
from spacy_padellm.lm.tags import load_tags
from spacy_padellm.lm.tokenizer import read_tokenizer
from spacy_padellm.lm.vocabulary import fit_vocabulary

ADAPTER = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A folder's LoRA adapter, read but for its weights.

    folder (Path): The folder.
    config (peft.PeftConfig): Its settings; they name the base model.
    tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
    """

    folder: Path
    config: Any
    tokenizer: Any


def with_lora(
    lm: LanguageModel,
    lora: Mapping[str, Any],
    *,
    name: str | None,
    revision: str | None,
    new_tokens: Sequence[int],
) -> LanguageModel:
    """Put adapters on a model; the embeddings of new tokens are learnt too.

    lm (LanguageModel): The model.
    lora (Mapping[str, Any]): Settings of peft's LoraConfig.
    name, revision (str | None): Of the model, which a saved adapter names.
    new_tokens (Sequence[int]): Tokens that the model came without.
    RAISES (ValueError): If peft is not installed, or the settings do not fit.
    """
    peft = import_peft()
    settings = dict(lora)
    if new_tokens:
        embeddings = lm.model.get_input_embeddings()
        names = [n for n, m in lm.model.named_modules() if m is embeddings]
        layer = names[0].rpartition(".")[2]
        settings["trainable_token_indices"] = {layer: list(new_tokens)}
    try:
        config = peft.LoraConfig(task_type="CAUSAL_LM", **settings)
        config.revision = revision
        model = peft.get_peft_model(lm.model, config)
        # it names the folder that the model was loaded from
        model.peft_config["default"].base_model_name_or_path = name
    except (TypeError, ValueError) as error:
        raise ValueError(Errors.P134.format(error=error)) from error
    return LanguageModel(model, lm.tokenizer)


def read_adapter(folder: Path) -> Adapter:
    """Read what a folder says of its LoRA adapter.

    RAISES (ValueError): If peft is not installed, or a file cannot be read.
    """
    peft = import_peft()
    with as_load_errors(folder):
        config = peft.PeftConfig.from_pretrained(folder)
        return Adapter(folder, config, read_tokenizer(folder))


def load_adapter(
    adapter: Adapter, base: LanguageModel, dtype: torch.dtype
) -> LanguageModel:
    """Load an adapter's weights on its base model.

    adapter (Adapter): The adapter.
    base (LanguageModel): The base model that it names, placed; it is changed.
    dtype (torch.dtype): Of the weights.
    RETURNS (LanguageModel): In evaluation mode.
    RAISES (ValueError): If weights are corrupt or missing.
    """
    fit_vocabulary(base.model, adapter.tokenizer)
    model = import_peft().PeftModel(base.model, adapter.config)
    with as_load_errors(adapter.folder):
        report = model.load_adapter(adapter.folder, "default")
    missing = [key for key in report.missing_keys if "lora_" in key]
    check_complete(adapter.folder, missing)
    load_tags(adapter.folder, model.config)
    return LanguageModel(model.to(dtype).eval(), adapter.tokenizer)


def import_peft() -> Any:
    """The peft package.

    RAISES (ValueError): If it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise ValueError(Errors.P118) from error
    return peft

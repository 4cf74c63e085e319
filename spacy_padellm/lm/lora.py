"""LoRA adapters (peft): add new adapters to a model, or load them from a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.load_errors import as_load_errors, check_complete
from spacy_padellm.lm.files.tokenizer import read_tokenizer
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.task.config import check_taught_tags, read_taught_tags
from spacy_padellm.lm.trust.announced import check_announced
from spacy_padellm.lm.trust.code import adapter_code, check_patterns
from spacy_padellm.lm.trust.sizes import limited, size_limits
from spacy_padellm.lm.vocabulary import count_tokens, fit_vocabulary

ADAPTER = "adapter_config.json"
_TASK = {"task_type": "CAUSAL_LM"}


@dataclass(frozen=True, slots=True)
class Adapter:
    """A folder's LoRA adapter without its weights.

    folder (Path): The folder.
    config (peft.PeftConfig): Its settings, which name the base model.
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
    """Add LoRA adapters to a model. The embeddings of new tokens are trained as well.

    lm (LanguageModel): The model.
    lora (Mapping[str, Any]): Settings of peft's LoraConfig.
    name, revision (str | None): The model's name and revision, saved with the adapter.
    new_tokens (Sequence[int]): Ids of the tokens that were added to the model.
    RAISES (ValueError): If peft is not installed, or the settings do not fit.
    """
    peft = import_peft()
    check_lora(lora)
    settings = dict(lora)
    if new_tokens:
        embeddings = lm.model.get_input_embeddings()
        names = [n for n, m in lm.model.named_modules() if m is embeddings]
        layer = names[0].rpartition(".")[2]
        settings["trainable_token_indices"] = {layer: list(new_tokens)}
    try:
        config = peft.LoraConfig(**_TASK, **settings)
        config.revision = revision
        model = peft.get_peft_model(lm.model, config)
        # peft writes the folder that the model was loaded from
        model.peft_config["default"].base_model_name_or_path = name
    except (TypeError, ValueError) as error:
        raise ValueError(Errors.P134.format(error=error)) from error
    adapted = LanguageModel(
        model, lm.tokenizer, tags=lm.tags, fused_layers=lm.fused_layers
    )
    adapted.licenses = lm.licenses
    return adapted


def check_lora(lora: Mapping[str, Any]) -> None:
    """Check settings of LoRA, as far as that is possible without the model.

    lora (Mapping[str, Any]): Settings of peft's LoraConfig.
    RAISES (ValueError): If peft is not installed, or a setting is unknown, or the saved
        adapter could not be loaded.
    """
    peft = import_peft()
    found = adapter_code({**lora, "peft_type": "LORA"})
    if found is not None:
        raise ValueError(Errors.P134.format(error=found))
    check_patterns(lora, source="lora")
    check_announced(lora, source="lora")
    try:
        peft.LoraConfig(**_TASK, **lora)
    except (TypeError, ValueError) as error:
        raise ValueError(Errors.P134.format(error=error)) from error


def read_adapter(folder: Path, *, trust_remote_code: bool) -> Adapter:
    """Read the settings and the tokenizer of a folder's LoRA adapter.

    folder (Path): The folder.
    trust_remote_code (bool): Whether the tokenizer's code may run.
    RAISES (ValueError): If peft is not installed, or a file cannot be read.
    """
    peft = import_peft()
    with as_load_errors(folder):
        config = peft.PeftConfig.from_pretrained(folder)
        tokenizer = read_tokenizer(folder, trust_remote_code=trust_remote_code)
        return Adapter(folder, config, tokenizer)


def base_names(folder: Path) -> list[str]:
    """Get the name of the base model of a folder's adapter, if it holds one.

    A file that cannot be read holds none: that is reported when it is loaded.

    folder (Path): The folder.
    RETURNS (list[str]): The name, or nothing.
    """
    try:
        settings = json.loads((folder / ADAPTER).read_text("utf8"))
    except (OSError, ValueError, RecursionError):
        return []
    name = isinstance(settings, dict) and settings.get("base_model_name_or_path")
    return [name] if isinstance(name, str) and name else []


def load_adapter(
    adapter: Adapter, base: LanguageModel, dtype: torch.dtype
) -> LanguageModel:
    """Load an adapter's weights into its base model.

    adapter (Adapter): The adapter.
    base (LanguageModel): The base model, on its device. It is modified.
    dtype (torch.dtype): The dtype of the weights.
    RETURNS (LanguageModel): In evaluation mode.
    RAISES (ValueError): If weights are corrupt or missing, or the settings need more
        than there are.
    """
    peft = import_peft()
    fit_vocabulary(base.model, adapter.tokenizer)
    of_base = {id(parameter) for parameter in base.model.parameters()}
    with as_load_errors(adapter.folder):
        limits = size_limits(adapter.folder)
    with limited(limits, adapter.folder), as_load_errors(adapter.folder):
        model = peft.PeftModel(base.model, adapter.config)
        report = model.load_adapter(adapter.folder, "default")
    missing = [key for key in report.missing_keys if "lora_" in key]
    check_complete(adapter.folder, missing)
    tags = read_taught_tags(adapter.folder)
    check_taught_tags(tags, count_tokens(model), folder=adapter.folder)
    for parameter in model.parameters():
        # the base has its dtype already, or is quantized
        if id(parameter) not in of_base:
            parameter.data = parameter.data.to(dtype)
    adapted = LanguageModel(
        model.eval(),
        adapter.tokenizer,
        tags=base.tags if tags is None else tags,
    )
    adapted.licenses = base.licenses
    return adapted


def import_peft() -> Any:
    """Import the peft package.

    RAISES (ValueError): If it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise ValueError(Errors.P118) from error
    return peft

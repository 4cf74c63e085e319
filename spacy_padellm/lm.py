"""The language model: find, load, place and run a Hugging Face causal LM."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from spacy_padellm.attention import packed_attention
from spacy_padellm.errors import Errors
from spacy_padellm.packing import Pass
from spacy_padellm.prepack import prepack
from spacy_padellm.prompt import Prompt, PromptTokens
from spacy_padellm.row_cache import RowCache
from spacy_padellm.tree import Step

BUNDLED = {"bundled-en": Path(__file__).parent / "models" / "en"}
ADAPTER = "adapter_config.json"

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_NEW_NAMES = transformers.__version__.split(".")[0] != "4"


class LanguageModel:
    """A causal LM with its tokenizer, ready to read token trees."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Take a model and its tokenizer.

        model (transformers.PreTrainedModel): The model, placed.
        tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.autocast: torch.dtype | None = None  # dtype of products in training
        self._prompts: dict[Prompt, PromptTokens] = {}
        self._reader = _Reader()
        # held by whoever runs the model: a pass changes its attention and projection
        self.alone = threading.RLock()
        self._hook_projection()

    def __getstate__(self) -> dict[str, Any]:
        # bound prompts are made anew: their caches cannot be pickled
        return {**self.__dict__, "_prompts": {}, "alone": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.alone = threading.RLock()

    def tokens_of(self, prompt: Prompt) -> PromptTokens:
        """A prompt, bound to this model's tokenizer.

        RAISES (ValueError): If the tokenizer has no `<eos>`.
        """
        if prompt not in self._prompts:
            self._prompts[prompt] = PromptTokens(prompt, self.tokenizer)
        return self._prompts[prompt]

    def add_special_tokens(self, tokens: Sequence[str]) -> list[int]:
        """Register special tokens that the tokenizer does not know yet.

        RETURNS (list[int]): The new ones.
        """
        known = self.tokenizer.get_added_vocab()
        new = [token for token in tokens if token not in known]
        if new:
            self.tokenizer.add_tokens(new, special_tokens=True)
            fit_vocabulary(self.model, self.tokenizer)
            # the projection may be another module now
            self._hook.remove()
            self._hook_projection()
            self._prompts.clear()
        return [int(self.tokenizer.convert_tokens_to_ids(token)) for token in new]

    def _hook_projection(self) -> None:
        head = self.model.get_output_embeddings()
        self._hook = head.register_forward_pre_hook(self._reader)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def context(self) -> int:
        """The longest sequence in tokens that the model takes."""
        return int(getattr(self.model.config, "max_position_embeddings", 0) or 1 << 30)

    def logits(
        self,
        step: Step,
        reads: Sequence[int] | torch.Tensor,
        *,
        chosen: Sequence[int] = (),
        choices: Sequence[int] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run one pass over trees side by side, as training does.

        step (Step): The pass.
        reads (Sequence[int] | torch.Tensor): Where next tokens are read, each as
            row * width + slot. The vocabulary is projected there only.
        chosen (Sequence[int]): Where some tokens alone are asked for.
        choices (Sequence[int]): These tokens.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): (reads, vocabulary) and (chosen,
            choices), in the model's dtype.
        """
        device = self.device
        dtype = self.autocast or self.dtype
        visible = torch.from_numpy(step.visible).to(device)
        mask = torch.zeros(visible.shape, dtype=dtype, device=device)
        mask.masked_fill_(~visible, torch.finfo(dtype).min)
        with self.alone, self._products():
            logits = self._forward(step.ids, step.positions, mask[:, None], reads)
            return logits, self._project(chosen, choices)

    def read(
        self,
        packed: Pass,
        reads: Sequence[int],
        cache: RowCache,
        *,
        chosen: Sequence[int] = (),
        choices: Sequence[int] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run one pass over packed trees, as decoding does.

        packed (Pass): The pass.
        reads (Sequence[int]): Packed tokens after which next tokens are read.
        cache (RowCache): Keys and values of the passes before.
        chosen, choices (Sequence[int]): See `logits`; packed tokens here.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): (reads, vocabulary) and (chosen,
            choices), in the model's dtype.
        """
        dtype = self.autocast or self.dtype
        # one that needs no work: attention has its own masks
        mask = torch.zeros(1, 1, 1, 1, dtype=dtype, device=self.device)
        attention = packed_attention(
            self.model.config, packed, cache, device=self.device, dtype=dtype
        )
        with self.alone, self._products(), attention:
            ids, positions = packed.ids[None], packed.positions[None]
            logits = self._forward(ids, positions, mask, reads)
            return logits, self._project(chosen, choices)

    def fill(self, cache: Any, **inputs: Any) -> None:
        """Read tokens for their keys and values alone.

        cache (transformers.Cache): Takes them.
        inputs (Any): What the model's forward takes.
        """
        # one token is projected, whichever
        self._reader.reads = torch.zeros(1, dtype=torch.long, device=self.device)
        try:
            self.model(**inputs, past_key_values=cache, use_cache=True)
        finally:
            self._reader.reads = self._reader.hidden = None

    def _project(self, chosen: Sequence[int], choices: Sequence[int]) -> torch.Tensor:
        """The logits of some tokens after some of those that were read last."""
        hidden, self._reader.hidden = self._reader.hidden, None
        assert hidden is not None
        if not chosen:
            return hidden.new_zeros(0, len(choices))
        head = self.model.get_output_embeddings()
        return F.linear(hidden[list(chosen)], head.weight[list(choices)])

    @property
    def tags(self) -> bool:
        """Whether the model was taught to tag its texts; see `add_tags`."""
        return bool(getattr(self.model.config, "padellm_tags", False))

    @tags.setter
    def tags(self, taught: bool) -> None:
        self.model.config.padellm_tags = taught

    def _products(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self.autocast, enabled=self.autocast is not None
        )

    def _forward(
        self, ids: Any, positions: Any, mask: torch.Tensor, reads: Any
    ) -> torch.Tensor:
        device = self.device
        self._reader.reads = torch.as_tensor(reads, device=device)
        try:
            output = self.model(
                input_ids=torch.from_numpy(ids).to(device),
                attention_mask=mask,
                position_ids=torch.from_numpy(positions).to(device),
                use_cache=False,
            )
        finally:
            self._reader.reads = None
        logits: torch.Tensor = output.logits[0]
        return logits


class _Reader:
    """Hands the vocabulary projection only the positions that are read."""

    def __init__(self) -> None:
        self.reads: torch.Tensor | None = None
        self.hidden: torch.Tensor | None = None  # what it was given last

    def __call__(self, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self.reads is None:
            return None
        self.hidden = args[0].flatten(0, 1)
        return (self.hidden[self.reads][None],)


# Choosing


def choose_device(device: str) -> torch.device:
    """The torch device for "auto", "cpu", "cuda", "cuda:1", ...

    RAISES (ValueError): If the device is unknown or absent.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(Errors.P110.format(device=device)) from error
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise ValueError(Errors.P111.format(device=device, count=count))
    return chosen


def fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 ones on the device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The torch dtype for "auto", "float32", "bfloat16", "float16".

    "auto" is bfloat16 where the hardware is fast at it, else float16 on CUDA and
    float32 elsewhere.
    RAISES (ValueError): If the dtype is unknown.
    """
    if dtype == "auto":
        if fast_bf16(device):
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        raise ValueError(Errors.P112.format(dtype=dtype, known=", ".join(_DTYPES)))
    return _DTYPES[dtype]


def find(name: str) -> Path | str:
    """The folder of a bundled or local model, or the hub name as it is.

    RAISES (ValueError): If the name can only be a folder, and there is none.
    """
    if name in BUNDLED:
        return BUNDLED[name]
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2:
        raise ValueError(Errors.P113.format(name=name))
    return name


# Loading

_loaded: weakref.WeakValueDictionary[tuple[Any, ...], LanguageModel] = (
    weakref.WeakValueDictionary()
)


def load_shared(
    name: str,
    *,
    revision: str | None,
    dtype: torch.dtype,
    device: torch.device,
    trust_remote_code: bool,
) -> LanguageModel:
    """A model that all pipes of the process share: load it once, never change it."""
    source = find(name)
    stamp = _stamp(source) if isinstance(source, Path) else None
    key = (str(source), revision, dtype, device, trust_remote_code, stamp)
    lm = _loaded.get(key)
    if lm is None:
        lm = load(
            name,
            revision=revision,
            dtype=dtype,
            device=device,
            trust_remote_code=trust_remote_code,
        )
        prepack(lm.model)
        _loaded[key] = lm
    return lm


def load(
    name: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a model of one's own.

    name (str): A bundled model's name, a folder, or a hub name.
    revision (str | None): Branch, tag or commit of a hub model.
    dtype (torch.dtype): Of the weights.
    device (torch.device | None): Where to place them; None is the CPU.
    trust_remote_code (bool): Whether code in the model's repository may run.
    RETURNS (LanguageModel): In evaluation mode.
    RAISES (ValueError): If the model is missing, of an unknown architecture, corrupt
        or incomplete.
    """
    source = find(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if isinstance(source, str):
        options["revision"] = revision
    elif (source / ADAPTER).is_file():
        return _load_adapter(source, dtype, device, trust_remote_code)
    elif not (source / "config.json").is_file():
        raise ValueError(Errors.P114.format(path=source, file="config.json"))
    with _told(source):
        config = AutoConfig.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            **{"dtype" if _NEW_NAMES else "torch_dtype": dtype},
            **options,
        )
    _check_complete(source, report["missing_keys"])
    return LanguageModel(model.to(device or "cpu").eval(), tokenizer)


def load_tokenizer(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> Any:
    """Load a model's tokenizer without its weights.

    name (str): A bundled model's name, a folder, or a hub name.
    revision (str | None): Branch, tag or commit of a hub model.
    trust_remote_code (bool): Whether code in the model's repository may run.
    RETURNS (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): If there is none, or it cannot be read.
    """
    source = find(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if isinstance(source, str):
        options["revision"] = revision
    with _told(source):
        return AutoTokenizer.from_pretrained(source, **options)


def _load_adapter(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device | None,
    trust_remote_code: bool,
) -> LanguageModel:
    """Load a LoRA adapter on the base model that it names."""
    peft = import_peft()
    with _told(folder):
        config = peft.PeftConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    base = load(
        config.base_model_name_or_path,
        revision=config.revision,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    fit_vocabulary(base.model, tokenizer)
    model = peft.PeftModel(base.model, config)
    with _told(folder):
        report = model.load_adapter(folder, "default")
    missing = [key for key in report.missing_keys if "lora_" in key]
    _check_complete(folder, missing)
    return LanguageModel(model.to(dtype).eval(), tokenizer)


@contextmanager
def _told(source: Path | str) -> Iterator[None]:
    """Turn the many ways in which loading fails into two messages."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(Errors.P115.format(name=source, error=error)) from error
    except Exception as error:
        # transformers and peft raise whatever a broken file leads to
        raise ValueError(Errors.P116.format(name=source, error=error)) from error


def _check_complete(source: Path | str, missing: Iterable[str]) -> None:
    names = sorted(missing)
    if names:
        message = Errors.P117.format(name=source, count=len(names), first=names[0])
        raise ValueError(message)


def import_peft() -> Any:
    """The peft package.

    RAISES (ValueError): If it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise ValueError(Errors.P118) from error
    return peft


def fit_vocabulary(model: Any, tokenizer: Any) -> None:
    """Give the model an embedding for each token of the tokenizer.

    New ones start as the mean of the others, the same in each process.
    """
    known = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) <= known:
        return
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[known:] = layer.weight[:known].mean(dim=0)


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Tells one state of a model folder from another."""
    files = sorted(os.scandir(folder), key=lambda entry: entry.name)
    stats = [(entry.name, entry.stat()) for entry in files]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)

"""Read a model and its tokenizer from a GGUF file, as llama.cpp uses them.

transformers reads the weights. It ignores how the file says that text is cut into words
(`tokenizer.ggml.pre`), so tokenizers of byte-level BPE are built here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
)
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from spacy_padellm.compat import dtype_option
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.device_map import DeviceMap, map_option
from spacy_padellm.lm.devices.split import split
from spacy_padellm.lm.files.build import build_model
from spacy_padellm.lm.files.load_errors import as_load_errors, check_complete
from spacy_padellm.lm.files.tokenizer import check_tokenizer
from spacy_padellm.lm.quantization.compute import loading_options, on_its_device
from spacy_padellm.lm.trust.code import check_settings_file
from spacy_padellm.lm.trust.gguf_header import check_gguf
from spacy_padellm.lm.trust.links import check_link
from spacy_padellm.lm.trust.sizes import check_size, limited, size_limits_of_file

SUFFIX = ".gguf"
_CONTROL, _USER_DEFINED = 3, 4  # gguf.TokenType
# the special tokens of sentencepiece in a file that does not name them
_SENTENCEPIECE = {"unknown": 0, "bos": 1, "eos": 2}
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# `tokenizer.ggml.pre` -> the pattern of words before byte-level BPE, see llama.cpp's
# llama-vocab.cpp; None is the pattern of GPT-2
_PATTERNS = {
    "default": None,
    "gpt-2": None,
    "qwen2": _QWEN2,
    "llama-bpe": _QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|", 1),
}
_WHOLE_WORDS = {"llama-bpe"}  # a word that is a token needs no merges
_SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r"}


def is_gguf(source: Path | str) -> bool:
    """Whether a model's name or path is that of a GGUF file, and not of a folder."""
    return str(source).endswith(SUFFIX) and not Path(source).is_dir()


def read_gguf(
    file: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    quantization: Mapping[str, Any] | None = None,
    device_map: DeviceMap | None = None,
) -> tuple[Any, Any]:
    """Read a model and its tokenizer. Quantized weights are dequantized.

    file (Path): The file.
    dtype (torch.dtype): The dtype of the weights.
    device (torch.device): The model's device.
    quantization (Mapping[str, Any] | None): How the weights are quantized again.
    device_map (DeviceMap | None): Splits the model over several devices.
    RETURNS (tuple[Any, Any]): A PreTrainedModel and a PreTrainedTokenizerBase.
    RAISES (ValueError): If gguf is not installed, the file cannot be read, lacks
        weights or is one of several, or there is no rule for its tokenizer, or it
        announces more than it holds.
    """
    tensors, shards = check_gguf(file)
    if shards > 1:
        raise ValueError(Errors.P930.format(path=file, count=shards))
    tokenizer = read_gguf_tokenizer(file)
    limits = size_limits_of_file(file.stat().st_size, tensors=tensors)
    with _apart(file) as folder:
        source = {"gguf_file": file.name}
        with as_load_errors(file):
            config = AutoConfig.from_pretrained(folder, **source)
        plain = copy.deepcopy(config)
        check_size(config, limits, file)
        with limited(limits, file), as_load_errors(file):
            read, report = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                output_loading_info=True,
                **dtype_option(dtype),
                **source,
            )
        check_complete(file, report["missing_keys"])
    # transformers 5 saves no model that it read from a GGUF file
    options = loading_options(plain, quantization, dtype=dtype, device=device)
    options |= map_option(device_map)
    with as_load_errors(file, device_map=device_map):
        model, _ = build_model(plain, read.state_dict(), dtype=dtype, options=options)
        model = on_its_device(model, None if device_map else device)
    if device_map is not None:
        split(model, device_map, name=str(file))
    model.config.name_or_path = ""  # the folder is gone
    return model, tokenizer


def read_gguf_tokenizer(file: Path) -> Any:
    """Read the tokenizer; a `tokenizer.json` beside the file goes first.

    file (Path): The file.
    RETURNS (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): As `read_gguf`, or if `tokenizer.json` is a link elsewhere.
    """
    gguf = _import_gguf()
    beside = file.parent / "tokenizer.json"
    check_link(beside, file.parent)
    check_gguf(file)
    if beside.is_file():
        check_settings_file(beside, folder=file.parent)
    with as_load_errors(file):
        fields = _Fields(gguf.GGUFReader(file).fields)
        if beside.is_file():
            return _wrap(Tokenizer.from_file(str(beside)), fields)
        if fields.get("model") != "gpt2":
            with _apart(file) as folder:
                read = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
            # transformers takes <s> for the end, and does not ask what texts start with
            tokenizer = _with_unknown(read.backend_tokenizer, fields)
            return _wrap(_started(tokenizer, fields), fields)
    pre = fields.get("pre", "default")
    if pre not in _PATTERNS and pre not in _SINGLE_DIGITS:
        raise ValueError(Errors.P186.format(path=file, pre=pre))
    with as_load_errors(file):
        return _wrap(_started(_byte_level_bpe(fields, pre), fields), fields)


@contextmanager
def _apart(file: Path) -> Iterator[Path]:
    """A folder with this file alone: transformers looks at all files beside it."""
    with TemporaryDirectory() as folder:
        (Path(folder) / file.name).symlink_to(file.resolve())
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class _Fields:
    """What a GGUF file says of its tokenizer."""

    fields: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `tokenizer.ggml.KEY`."""
        field = self.fields.get(f"tokenizer.ggml.{key}")
        return default if field is None else field.contents()

    def number(self, name: str) -> int | None:
        """The number of a special token, as llama.cpp finds it."""
        default = _SENTENCEPIECE.get(name) if self.get("model") == "llama" else None
        number: int | None = self.get(f"{name}_token_id", default)
        return number

    @property
    def starts(self) -> bool:
        """Whether texts start with `<bos>`."""
        default = self.get("model") == "llama" or self.get("pre") in _WHOLE_WORDS
        return bool(self.get("add_bos_token", default))


def _byte_level_bpe(fields: _Fields, pre: str) -> Tokenizer:
    tokens, kinds = fields.get("tokens"), fields.get("token_type", [])
    merges = [tuple(merge.split(" ")) for merge in fields.get("merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    whole = pre in _WHOLE_WORDS
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=whole))
    tokenizer.pre_tokenizer = _cut(pre)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, normalized=False, special=kind == _CONTROL)
            for token, kind in zip(tokens, kinds, strict=False)
            if kind in {_CONTROL, _USER_DEFINED}
        ]
    )
    return tokenizer


def _with_unknown(tokenizer: Tokenizer, fields: _Fields) -> Tokenizer:
    """Let characters without tokens be `<unk>`: transformers 5 drops them."""
    number = fields.number("unknown")
    lacks = isinstance(tokenizer.model, models.BPE) and not tokenizer.model.unk_token
    if number is not None and lacks:
        tokenizer.model.unk_token = tokenizer.id_to_token(number)
    return tokenizer


def _started(tokenizer: Tokenizer, fields: _Fields) -> Tokenizer:
    """Let texts start with `<bos>` if the file says so, and never end with `<eos>`."""
    number = fields.number("bos") if fields.starts else None
    bos = None if number is None else tokenizer.id_to_token(number)
    before = [] if bos is None else [f"{bos}:0"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*before, "$A:0"], special_tokens=[] if bos is None else [(bos, number)]
    )
    return tokenizer


def _wrap(tokenizer: Tokenizer, fields: _Fields) -> Any:
    """A tokenizer with the special tokens that the file names."""
    names = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    numbers = {name: fields.number(key) for key, name in names.items()}
    special = {
        f"{name}_token": tokenizer.id_to_token(number)
        for name, number in numbers.items()
        if number is not None
    }
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special
    )
    check_tokenizer(wrapped)
    return wrapped


def _cut(pre: str) -> Any:
    """How text is cut into words before BPE."""
    if pre in _SINGLE_DIGITS:
        first = pre_tokenizers.Digits(individual_digits=True)
    elif pattern := _PATTERNS[pre]:
        first = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    else:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    use_regex = pre in _SINGLE_DIGITS
    then = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    return pre_tokenizers.Sequence([first, then])


def _import_gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ValueError(Errors.P187) from error
    return gguf

"""Read the tokenizer of a GGUF file, as llama.cpp uses it.

transformers ignores how a file says that text is cut into words (`tokenizer.ggml.pre`),
and before version 5 it reads the BPE of Gemma as a unigram model. So both kinds of BPE
are built here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.load_errors import as_load_errors
from spacy_padellm.lm.files.tokenizer import check_tokenizer
from spacy_padellm.lm.trust.code import check_settings_file
from spacy_padellm.lm.trust.gguf_header import check_gguf
from spacy_padellm.lm.trust.links import check_link

_START = "tokenizer.ggml."  # of the names of a tokenizer's fields
_NORMAL, _CONTROL, _USER_DEFINED, _BYTE = 1, 3, 4, 6  # gguf.TokenType
_SPACE = "\u2581"  # what sentencepiece writes for a space
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


def read_gguf_tokenizer(file: Path) -> Any:
    """Read the tokenizer; a `tokenizer.json` beside the file goes first.

    file (Path): The file.
    RETURNS (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): As `read_gguf`, or if `tokenizer.json` is a link elsewhere, or
        another model's.
    """
    gguf = _import_gguf()
    beside = tokenizer_beside(file)
    check_link(beside, file.parent)
    check_gguf(file)
    if beside.is_file():
        check_settings_file(beside, folder=file.parent)
    with as_load_errors(file, broken=Errors.P996):
        fields = _Fields(gguf.GGUFReader(file).fields)
        whole = Tokenizer.from_file(str(beside)) if beside.is_file() else None
        tokens = fields.tokens if fields.get("tokens") else []
    if whole is not None:
        _check_same(whole, tokens, file=file)
    with as_load_errors(file, broken=Errors.P996):
        if whole is not None:
            return _wrap(whole, fields)
        is_byte_level, pre = fields.is_byte_level, fields.pre
    _check_fields(fields, file)
    if is_byte_level and not _has_rule(pre):
        raise ValueError(Errors.P186.format(path=file, pre=pre))
    with as_load_errors(file, broken=Errors.P996):
        return _wrap(_started(_build(fields, file), fields), fields)


def tokenizer_beside(file: Path) -> Path:
    """The `tokenizer.json` that goes before the tokenizer of a GGUF file.

    file (Path): The GGUF file.
    """
    return file.parent / "tokenizer.json"


def _check_same(tokenizer: Tokenizer, tokens: Sequence[str], *, file: Path) -> None:
    """Check that most tokens of a tokenizer have the numbers that a file gives them.

    A file may list more, which fill its last rows, or write a few in another way.
    """
    numbers = tokenizer.get_vocab()
    listed = dict(zip(tokens, range(len(tokens)), strict=True))
    same = sum(listed.get(token) == number for token, number in numbers.items())
    if tokens and 2 * same < len(numbers):
        message = Errors.P1004.format(path=file, count=len(numbers), same=same)
        raise ValueError(message)


def _check_fields(fields: _Fields, file: Path) -> None:
    """Check that a file has a tokenizer, which conversion may leave out."""
    for key in ("model", "tokens", *(["merges"] if fields.is_byte_level else [])):
        if _START + key not in fields.fields:
            raise ValueError(Errors.P961.format(path=file, key=f"{_START}{key}"))


def _build(fields: _Fields, file: Path) -> Tokenizer:
    """The tokenizer of a file, without special tokens around its texts."""
    if fields.is_byte_level:
        return _byte_level_bpe(fields)
    if fields.is_sentencepiece:
        return _sentencepiece_bpe(fields)
    with apart(file) as folder:
        read = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    return read.backend_tokenizer


@contextmanager
def apart(file: Path) -> Iterator[Path]:
    """A folder with this file alone: transformers looks at all files beside it."""
    with TemporaryDirectory() as folder:
        (Path(folder) / file.name).symlink_to(file.resolve())
        yield Path(folder)


@dataclass(frozen=True)  # without slots, as properties are cached
class _Fields:
    """What a GGUF file says of its tokenizer."""

    fields: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `tokenizer.ggml.KEY`."""
        field = self.fields.get(_START + key)
        return default if field is None else field.contents()

    @property
    def is_byte_level(self) -> bool:
        """Whether it is BPE of bytes, as GPT-2's."""
        return bool(self.get("model") == "gpt2")

    @property
    def is_sentencepiece(self) -> bool:
        """Whether it is BPE of sentencepiece, as Llama 2's."""
        return bool(self.get("model") == "llama")

    @property
    def pre(self) -> str:
        """How text is cut into words before byte-level BPE."""
        return str(self.get("pre", "default"))

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens, by their numbers."""
        return list(self.get("tokens"))

    @cached_property
    def kinds(self) -> list[int]:
        """What each token is, a `gguf.TokenType`."""
        return self.get("token_type") or [_NORMAL] * len(self.tokens)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Token -> its number."""
        return {token: number for number, token in enumerate(self.tokens)}

    def number(self, name: str) -> int | None:
        """The number of a special token, as llama.cpp finds it."""
        default = _SENTENCEPIECE.get(name) if self.is_sentencepiece else None
        number: int | None = self.get(f"{name}_token_id", default)
        return number

    @property
    def starts(self) -> bool:
        """Whether texts start with `<bos>`."""
        default = self.is_sentencepiece or self.pre in _WHOLE_WORDS
        return bool(self.get("add_bos_token", default))


def _byte_level_bpe(fields: _Fields) -> Tokenizer:
    """Byte-level BPE: the file lists its merges."""
    merges = [tuple(merge.split(" ")) for merge in fields.get("merges")]
    whole = fields.pre in _WHOLE_WORDS
    tokenizer = Tokenizer(models.BPE(fields.vocabulary, merges, ignore_merges=whole))
    tokenizer.pre_tokenizer = _cut(fields.pre)
    tokenizer.decoder = decoders.ByteLevel()
    _add_whole_tokens(tokenizer, fields)
    return tokenizer


def _sentencepiece_bpe(fields: _Fields) -> Tokenizer:
    """BPE of sentencepiece: two tokens merge to the token with the best score."""
    number = fields.number("unknown")
    bpe = models.BPE(
        fields.vocabulary,
        list(_merges(fields)),
        unk_token=None if number is None else fields.tokens[number],
        fuse_unk=True,
        byte_fallback=_BYTE in fields.kinds,
    )
    tokenizer = Tokenizer(bpe)
    spaces = normalizers.Replace(" ", _SPACE)
    back = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if fields.get("add_space_prefix", True):
        spaces = normalizers.Sequence([normalizers.Prepend(_SPACE), spaces])
        back.append(decoders.Strip(" ", 1, 0))
    tokenizer.normalizer = spaces
    tokenizer.decoder = decoders.Sequence(back)
    _add_whole_tokens(tokenizer, fields)
    return tokenizer


def _merges(fields: _Fields) -> Iterator[tuple[str, str]]:
    """The pairs of tokens that merge, the best first.

    Special tokens and bytes are no results: a typed `<eos>` is five characters.
    """
    tokens = fields.tokens
    scores = fields.get("scores", [0.0] * len(tokens))
    ranked = sorted(zip(scores, tokens, fields.kinds, strict=True), key=_by_score)
    normal = {token for _, token, kind in ranked if kind == _NORMAL}
    for _, token, kind in ranked:
        if kind == _NORMAL:
            for end in range(len(token) - 1, 0, -1):
                pair = token[:end], token[end:]
                if normal.issuperset(pair):
                    yield pair


def _by_score(ranked: tuple[float, str, int]) -> float:
    return -ranked[0]


def _add_whole_tokens(tokenizer: Tokenizer, fields: _Fields) -> None:
    """Keep special tokens and those of the user in one piece."""
    whole: dict[int, list[AddedToken]] = {_CONTROL: [], _USER_DEFINED: []}
    for token, kind in zip(fields.tokens, fields.kinds, strict=True):
        if kind in whole:
            whole[kind].append(AddedToken(token, normalized=False))
    tokenizer.add_special_tokens(whole[_CONTROL])
    tokenizer.add_tokens(whole[_USER_DEFINED])


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


def _has_rule(pre: str) -> bool:
    return pre in _PATTERNS or pre in _SINGLE_DIGITS


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

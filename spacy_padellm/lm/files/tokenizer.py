"""Load a tokenizer's files."""

from __future__ import annotations

import json
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from spacy_padellm.errors import Errors
from spacy_padellm.lm.trust.growth import check_growth

# names of the files that tokenizers read their vocabulary from
_VOCABULARIES = (
    "tokenizer.json",
    "tekken.json",
    "*vocab*",
    "merges*",
    "*.model",
    "*.tiktoken",
    "*.spm",
    "*.bpe",
)


def read_tokenizer(source: Path | str, **options: Any) -> Any:
    """Load a tokenizer with all its files.

    source (Path | str): A model's folder or hub name.
    options (Any): What `AutoTokenizer.from_pretrained` takes.
    RETURNS (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (Exception): If it cannot be loaded, or has no vocabulary.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:
        if isinstance(source, Path) and not _has_vocabulary(source):
            raise OSError(Errors.P138) from error
        raise
    # where the files are missing, transformers 5 makes one of special tokens alone
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise OSError(Errors.P138)
    check_tokenizer(tokenizer)
    return tokenizer


def _has_vocabulary(folder: Path) -> bool:
    """Whether a folder has a file that may be a tokenizer's vocabulary."""
    names = (path.name for path in folder.iterdir())
    return any(fnmatch(name, pattern) for name in names for pattern in _VOCABULARIES)


def check_tokenizer(tokenizer: Any) -> None:
    """Check that a tokenizer works, and tells the digits of counts apart.

    tokenizer (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (Exception): If it does not.
    """
    check_growth(_steps(tokenizer), source=tokenizer.name_or_path)
    digits = [str(digit) for digit in range(1, 10)]
    ids = tokenizer(digits, add_special_tokens=False)["input_ids"]
    if not all(ids) or len({*map(tuple, ids)}) < len(digits):
        raise OSError(Errors.P743)


def _steps(tokenizer: Any) -> dict[str, Any]:
    """The steps of a fast tokenizer, as in `tokenizer.json`."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    steps = {}
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        with suppress(Exception):  # there is none, or it is written in Python
            steps[name] = json.loads(getattr(fast, name).__getstate__())
    return steps

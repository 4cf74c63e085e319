"""The undocumented behaviour of tokenizers that `compat.tokenizers` relies on."""

from __future__ import annotations

import pytest
from conftest import make_tokenizer
from tokenizers import Regex, pre_tokenizers

from spacy_padellm.compat.tokenizers import is_panic


def test_compat_panic_is_raised_by_a_pattern_with_too_many_steps() -> None:
    tokenizer = make_tokenizer()
    pattern = pre_tokenizers.Split(Regex("(a+)+b"), "isolated")
    tokenizer.backend_tokenizer.pre_tokenizer = pattern
    with pytest.raises(BaseException, match="retry-limit") as caught:
        tokenizer("a" * 1000)
    assert is_panic(caught.value)


def test_compat_panic_is_no_other_error() -> None:
    assert not is_panic(KeyboardInterrupt())

"""Strings as the tokens of a tokenizer, and tokens as strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

from spacy_padellm.compat.tokenizers import is_panic
from spacy_padellm.errors import Errors
from spacy_padellm.locks import make_lock

# a tokenizer changes its settings while it encodes, and threads may share one
_tokenizer_lock = make_lock()
_MOST_KEPT = 1 << 16  # strings in each cache
_PARTS = "\U000f0000"  # the first character that stands for a part of another
_MOST_PARTS = 4  # bytes of a character


class TokenStrings:
    """Encodes and decodes strings with one tokenizer; threads may share it."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a tokenizer.

        tokenizer (transformers.PreTrainedTokenizerBase): The model's tokenizer.
        """
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        self._special = {token: str(text) for token, text in added if text.special}
        self._string = lru_cache(maxsize=_MOST_KEPT)(self._decode_token)
        self._strings = lru_cache(maxsize=_MOST_KEPT)(self._decode_inside)
        self._piece = lru_cache(maxsize=_MOST_KEPT)(self._find_piece)

    # Strings to tokens

    def plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of strings, with special tokens encoded as plain text."""
        if not texts:
            return []
        encoded = self._encode(list(texts), split_special_tokens=True)
        return [list(ids) for ids in encoded["input_ids"]]

    def template(self, piece: str) -> list[int]:
        """Tokens of a string that may contain special tokens."""
        return list(self._encode(piece)["input_ids"]) if piece else []

    def start(self) -> list[int]:
        """Tokens that the tokenizer adds before every text, such as `<bos>`."""
        whole = list(self._encode("x", add_special_tokens=True)["input_ids"])
        plain = self.template("x")
        starts = range(len(whole))
        start = next(i for i in starts if whole[i : i + len(plain)] == plain)
        return whole[:start]

    def special_in(self, text: str) -> str | None:
        """Find a special token in a string.

        text (str): The string.
        RETURNS (str | None): The special token; None if there is none.
        """
        return next((token for token in self._special.values() if token in text), None)

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Start and end character of each token of texts, tokenized as in `plain`.

        texts (Sequence[str]): The texts.
        RAISES (ValueError): If the tokenizer cannot compute offsets.
        """
        if not self._tokenizer.is_fast:
            raise ValueError(Errors.P108)
        encoded = self._encode(
            list(texts), split_special_tokens=True, return_offsets_mapping=True
        )
        return [list(offsets) for offsets in encoded["offset_mapping"]]

    def _encode(self, text: str | list[str], **options: Any) -> Any:
        """Tokenize texts.

        RAISES (ValueError): If the tokenizer gives up.
        """
        options = {
            "add_special_tokens": False,
            "return_attention_mask": False,
            **options,
        }
        with _tokenizer_lock:
            try:
                return self._tokenizer(text, **options)
            except BaseException as error:
                if not is_panic(error):
                    raise
                raise ValueError(Errors.P507.format(error=error)) from error

    @cached_property
    def size(self) -> int:
        """The number above the highest token."""
        return 1 + int(max(self._tokenizer.get_vocab().values()))

    # Tokens to strings

    def decode(self, ids: Sequence[int]) -> str:
        """The string of generated tokens, without special tokens."""
        with _tokenizer_lock:
            text = self._tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return str(text)

    def decode_mentions(self, mentions: Sequence[Sequence[int]]) -> list[str]:
        """The strings of generated mentions.

        mentions (Sequence[Sequence[int]]): The tokens of each mention, without `<eos>`.
        """
        # a word's first token often includes the space before it
        return [self.decode(ids).removeprefix(" ") for ids in mentions]

    def string(self, token: int) -> str:
        """A token's string; `<>` for a special token."""
        return self._string(token)

    def piece(self, token: int) -> str:
        """A token's string as it occurs in texts.

        Special tokens and parts of characters are replaced by a private-use character,
        from U+F0000 on.
        """
        return self._piece(token)

    def pieces(self, tokens: Iterable[int]) -> list[str]:
        """The `piece` of each token."""
        return list(map(self._piece, tokens))

    def characters(self, tokens: Sequence[int]) -> list[str]:
        """The `piece` of each token of a text, with whole characters.

        A character that several tokens share is in the string of the first of them;
        those of the others are empty.

        tokens (Sequence[int]): The tokens.
        """
        pieces = self.pieces(tokens)
        done = 0
        for start, piece in enumerate(pieces):
            if start < done or piece[-1:] < _PARTS or tokens[start] in self._special:
                continue
            for end in range(start + 1, min(start + _MOST_PARTS, len(tokens)) + 1):
                part = tuple(tokens[start:end])
                string = self._strings(part)
                if "\ufffd" not in string or part == self._replacement:
                    pieces[start:end] = [string, *[""] * (end - start - 1)]
                    done = end
                    break
        return pieces

    @cached_property
    def _replacement(self) -> tuple[int, ...]:
        """The tokens of U+FFFD, which also stands for parts of characters."""
        _, anchor = self._anchor
        (tokens,) = self.plain(["a\ufffd"])
        return tuple(tokens[len(anchor) :])

    def _find_piece(self, token: int) -> str:
        piece = self._string(token)
        if token in self._special or "\ufffd" in piece:
            part = chr(ord(_PARTS) + token % 0xFFFF)
            return f" {part}" if piece.startswith(" ") else part
        return piece

    def tokens_at(self, text: str, offset: int) -> set[int]:
        """The tokens whose `piece` starts at an offset of a text.

        text (str): The text.
        offset (int): An offset of its characters.
        """
        longest = min(self._longest, len(text) - offset)
        pieces = (text[offset : offset + size] for size in range(1, longest + 1))
        return {t for piece in pieces for t in self._tokens_of.get(piece, ())}

    @cached_property
    def _tokens_of(self) -> dict[str, list[int]]:
        tokens_of: dict[str, list[int]] = {}
        # not all numbers up to the number of tokens: vocabularies may have holes
        for token in sorted(set(self._tokenizer.get_vocab().values())):
            if token not in self._special:
                tokens_of.setdefault(self.piece(token), []).append(token)
        return tokens_of

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._tokens_of))

    def _decode_token(self, token: int) -> str:
        if token in self._special:
            return "<>"
        return self._decode_inside((token,)) or " "

    def _decode_inside(self, tokens: tuple[int, ...]) -> str:
        """The string of tokens inside a text: Llama 2's have no space at its start."""
        before, anchor = self._anchor
        return self.decode([*anchor, *tokens]).removeprefix(before)

    @cached_property
    def _anchor(self) -> tuple[str, list[int]]:
        """A string, and its tokens."""
        (anchor,) = self.plain(["a"])
        return self.decode(anchor), anchor

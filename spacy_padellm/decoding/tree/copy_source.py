"""Continues a mention from the text that it is copied from.

A draft is the most likely continuation. The allowed tokens are all those with which a
mention stays a string of the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate, count

from spacy_padellm.mention.occurrences import find_all
from spacy_padellm.prompt.token_strings import TokenStrings


class CopySource:
    """A text that mentions are copied from."""

    def __init__(self, text: Sequence[int], strings: TokenStrings, eos: int) -> None:
        """Prepare a text.

        text (Sequence[int]): Its tokens.
        strings (TokenStrings): The strings of tokens.
        eos (int): The token that ends a mention.
        """
        self._text = text
        self._strings = strings
        self._eos = eos
        # string -> tokens that may follow it; the mentions of many labels begin alike
        self._next_tokens: dict[str, set[int]] = {}
        # string -> the offsets where a mention with this beginning may start
        self._starts_with: dict[str, list[int]] = {}

    def draft(self, generated: Sequence[int], size: int) -> list[int]:
        """Continue generated tokens with the tokens that follow them in the text.

        Strings are compared, not tokens: the first word of a mention may have other
        tokens than in the text, where it follows a space.

        generated (Sequence[int]): A mention's tokens so far, at least one.
        size (int): Tokens to draft at most.
        RETURNS (list[int]): The tokens after the first occurrence of the string at the
            start of a word, or else after its first occurrence; empty if it does not
            occur in the text.
        """
        if size < 1:
            return []
        inside_word = None
        for start, token in self._occurrences(generated):
            if start == 0 or not self._string[start - 1].isalnum():
                return list(self._text[token : token + size])
            inside_word = token if inside_word is None else inside_word
        if inside_word is None:
            return []
        return list(self._text[inside_word : inside_word + size])

    def fits(self, generated: Sequence[int], token: int) -> bool:
        """Whether a mention stays a string of the text with a further token.

        token (int): The token.
        generated (Sequence[int]): The mention's tokens so far. A mention starts at a
            token of the text or after a space, and cannot be empty.
        """
        if token == self._eos:
            return bool(self._string_of(generated))
        string, piece = self._string_of(generated), self._strings.piece(token)
        if not string:
            return bool(self._starts_of(piece))
        ends = (start + len(string) for start in self._starts_of(string))
        return any(self._string.startswith(piece, end) for end in ends)

    def allowed(self, generated: Sequence[int]) -> list[int]:
        """All tokens that fit; see `fits`."""
        string = self._string_of(generated)
        if string not in self._next_tokens:
            if string:
                ends = [start + len(string) for start in self._starts_of(string)]
            else:
                ends = sorted(self._starts)
            tokens_at = self._strings.tokens_at
            self._next_tokens[string] = {
                token for end in ends for token in tokens_at(self._string, end)
            }
        tokens = self._next_tokens[string]
        return sorted({*tokens, self._eos} if string else tokens)

    @cached_property
    def _pieces(self) -> list[str]:
        return self._strings.pieces(self._text)

    @cached_property
    def _string(self) -> str:
        return "".join(self._pieces)

    @cached_property
    def _token_at(self) -> dict[int, int]:
        """Character offset -> index of the token that starts there."""
        ends = accumulate(map(len, self._pieces))
        return dict(zip(ends, count(1), strict=False))

    @cached_property
    def _starts(self) -> set[int]:
        """Character offsets at which a mention may start."""
        starts = {0, *self._token_at}
        return starts | {p + 1 for p in starts if self._string[p : p + 1] == " "}

    def _starts_of(self, string: str) -> list[int]:
        """The offsets where a mention may start and the text goes on with a string."""
        if string not in self._starts_with:
            offsets = self._offsets_of(string)
            self._starts_with[string] = [o for o in offsets if o in self._starts]
        return self._starts_with[string]

    def _offsets_of(self, string: str) -> Iterator[int]:
        """The character offsets of a string in the text."""
        return find_all(self._string, string) if string else iter(())

    def _string_of(self, generated: Sequence[int]) -> str:
        return "".join(self._strings.pieces(generated)).removeprefix(" ")

    def _occurrences(self, generated: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The occurrences of the tokens' string that end at the end of a token.

        YIELDS (tuple[int, int]): The character offset of the occurrence, and the index
            of the token after it.
        """
        string = self._string_of(generated)
        for start in self._offsets_of(string):
            token = self._token_at.get(start + len(string))
            if token is not None:
                yield start, token

"""How a mention may go on, read off the text that it is copied from.

A draft is the likely continuation; the allowed tokens are all those that keep a
mention a string of the text.
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
        """Take a text.

        text (Sequence[int]): Its tokens.
        strings (TokenStrings): The strings of tokens.
        eos (int): The token that ends a mention.
        """
        self._text = text
        self._strings = strings
        self._eos = eos
        # tokens that may follow a string; all labels' mentions begin alike
        self._after: dict[str, set[int]] = {}

    def draft(self, generated: Sequence[int], size: int) -> list[int]:
        """Continue generated tokens from where their string stands in the text.

        Strings are compared, as a mention's first word may be cut into other tokens
        than in the text, where a blank stands before it.

        generated (Sequence[int]): A mention's tokens so far, at least one.
        size (int): Tokens to draft at most.
        RETURNS (list[int]): What follows the first place in the text that holds the
            string, a word's start if there is one; nothing if there is none.
        """
        if size < 1:
            return []
        inside = None
        for place, token in self._places(generated):
            if place == 0 or not self._string[place - 1].isalnum():
                return list(self._text[token : token + size])
            inside = token if inside is None else inside
        return [] if inside is None else list(self._text[inside : inside + size])

    def fits(self, generated: Sequence[int], token: int) -> bool:
        """Whether a token keeps a mention a string of the text.

        generated (Sequence[int]): The mention's tokens so far. The first one stands
            where a token of the text starts, or after a blank; `<eos>` is no first one.
        """
        if token == self._eos:
            return bool(generated)
        if self._string_of(generated):
            return self._string_of([*generated, token]) in self._string
        piece = self._strings.piece(token)
        return any(place in self._starts for place in self._found(piece))

    def allowed(self, generated: Sequence[int]) -> list[int]:
        """All tokens that fit; see `fits`."""
        string = self._string_of(generated)
        if string not in self._after:
            if string:
                ends = [place + len(string) for place in self._found(string)]
            else:
                ends = sorted(self._starts)
            tokens_at = self._strings.tokens_at
            self._after[string] = {t for e in ends for t in tokens_at(self._string, e)}
        found = self._after[string]
        return sorted({*found, self._eos} if generated else found)

    @cached_property
    def _pieces(self) -> list[str]:
        return self._strings.pieces(self._text)

    @cached_property
    def _string(self) -> str:
        return "".join(self._pieces)

    @cached_property
    def _token_at(self) -> dict[int, int]:
        """Character -> the token that starts there."""
        ends = accumulate(map(len, self._pieces))
        return dict(zip(ends, count(1), strict=False))

    @cached_property
    def _starts(self) -> set[int]:
        starts = {0, *self._token_at}
        return starts | {p + 1 for p in starts if self._string[p : p + 1] == " "}

    def _found(self, string: str) -> Iterator[int]:
        """The characters at which a string stands in the text."""
        return find_all(self._string, string) if string else iter(())

    def _string_of(self, generated: Sequence[int]) -> str:
        return "".join(self._strings.pieces(generated)).removeprefix(" ")

    def _places(self, generated: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Where the string of tokens stands: its character, and the token after it."""
        string = self._string_of(generated)
        for place in self._found(string):
            token = self._token_at.get(place + len(string))
            if token is not None:
                yield place, token

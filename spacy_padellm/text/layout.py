"""Where the layout of a text splits it: lines of a list, fields of a form, table cells.

No name runs over such a break. The model gets texts with single spaces, so it cannot
see them. Line breaks of wrapped prose split nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

# whitespace that may part a text: with a line break or a tab, or of three characters
_GAP = re.compile(r"\s*[\n\r\t\v\f\u0085\u2028\u2029]\s*|[^\S\n\r]{3,}")
_LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\u0085\u2028\u2029]")
# up to five words, and what may stand between them: punctuation or a short word
_ITEM = r"(?<![^\s(\[{<])(\S{1,60}?(?:\s+\S{1,60}?){0,4}?)"
_APART = (
    r"([^\w\s]{0,2}\s+(?:[^\w\s]{1,2}|[a-zà-öø-ÿа-я]{1,4})\s+"
    r"|[^\w\s]{1,2}\s+|[,;/|&+:·]{1,2})"
)
# repeated over and over: four times in a row, or three times with something between
_REPEATED = re.compile(rf"{_ITEM}(?:(?:\s+\1(?!\S)){{3,}}|{_APART}(?:\1\2)+\1(?!\w))")
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")
_SPACES = re.compile(r"\s+")
_ANYTHING = re.compile(r".+")
_BULLET = re.compile(r"(?:[-*+•‣◦▪●–—|#]+|\(?(?:\d{1,3}|[a-zA-Z])[.)])\s")
# the marks of quoted mail at the start of a line
_QUOTE_MARKS = re.compile(
    r"(?<![^\n\r\v\f\u0085\u2028\u2029])[ \t]*>(?:[ \t]?>)*(?!\S)"
)
_FIELD = re.compile(r"[^\s:][^:\n]{0,30}:(?:\s|$)")
_FEWEST_REPEATS = 3  # of the words and marks of what is repeated
_MOST_FIELD_WORDS = 4
_FEWEST_NUMBERS = 4
_SHORTEST_HASH = 32  # characters, as those of MD5
_MOST_ITEM_WORDS = 5
_LONGEST_ITEM = 40  # characters
_EARLY = 0.6  # share of the paragraph's width at which a line ends early
_LONGEST_CAPLESS_ITEM = 8  # characters, in scripts without capitals


def layout_breaks(text: str) -> list[tuple[int, int]]:
    """Find the whitespace at which the layout of a text splits it.

    These are blank lines, tabs, runs of three spaces, and line breaks before bullets
    and fields, around rows of numbers and hashes, between the lines of a list, and
    after lines that end early, and where a quotation (`> `) begins or ends. All other
    line breaks are those of wrapped prose. Words that are repeated over and over are a
    list, too.

    text (str): The text.
    RETURNS (list[tuple[int, int]]): Start and end of each, in text order. The marks of
        quoted lines are taken for whitespace.
    """
    plain = without_quote_marks(text)
    return sorted({*_line_breaks(text, plain), *_between_repeated(plain)})


def without_quote_marks(text: str) -> str:
    """Replace the marks of quoted mail (`> ` at the start of a line) by spaces.

    A name may run over two quoted lines, as over other wrapped lines.

    text (str): The text.
    RETURNS (str): A text of the same length.
    """
    if ">" not in text:
        return text
    return _QUOTE_MARKS.sub(lambda marks: marks.group().replace(">", " "), text)


def _between_repeated(text: str) -> Iterator[tuple[int, int]]:
    """The whitespace, else the punctuation, between words repeated over and over."""
    # saves time: in most short texts nothing occurs so often
    if max(Counter(_WORD_OR_MARK.findall(text)).values(), default=0) < _FEWEST_REPEATS:
        return
    for run in _REPEATED.finditer(text):
        item, apart = run.groups(default="")
        if not any(map(str.isalnum, item)):
            continue  # `. . .`
        between = _SPACES if not apart or _SPACES.search(apart) else _ANYTHING
        end = run.start() + len(item)
        while end < run.end():
            size = len(apart) or _run_of_spaces(text, end)
            for gap in between.finditer(text, end, end + size):
                yield gap.span()
            end += size + len(item)


def _run_of_spaces(text: str, start: int) -> int:
    run = _SPACES.match(text, start)
    return len(run.group()) if run else 0


def _line_breaks(text: str, plain: str) -> list[tuple[int, int]]:
    """The breaks between lines and cells; `plain` is without the marks of quotes."""
    gaps = [gap.span() for gap in _GAP.finditer(plain)]
    marks = _QUOTE_MARKS.match(text)
    depths = [marks.group().count(">") if marks else 0]  # of the quotes after each gap
    for start, end in gaps:
        _, *lines = _LINE_BREAK.split(text[start:end])
        # a tab inside a line ends no quotation
        depths.append(lines[-1].count(">") if lines else depths[-1])
    breaks = []
    for first, end in _paragraphs(plain, gaps, depths):
        inside = gaps[first:end]
        edges = [gaps[first - 1][1] if first else 0, *(b for _, b in inside)]
        ends = [*(a for a, _ in inside), gaps[end][0] if end < len(gaps) else len(text)]
        lines = [plain[a:b].strip() for a, b in zip(edges, ends, strict=True)]
        width = max(map(len, lines))
        breaks += [
            gap
            for gap, line, follows in zip(inside, lines, lines[1:], strict=False)
            if _parts(line, follows, width)
        ]
        if end < len(gaps):
            breaks.append(gaps[end])
    return breaks


def _paragraphs(
    text: str, gaps: list[tuple[int, int]], depths: list[int]
) -> Iterator[tuple[int, int]]:
    """Ranges of gaps that are single line breaks, each ended by a gap that parts.

    depths (list[int]): The depth of the quotation before and after each gap.
    """
    first = 0
    for number, (start, end) in enumerate(gaps):
        changes = depths[number] != depths[number + 1]
        if changes or _parts_always(text[start:end]):
            yield first, number
            first = number + 1
    yield first, len(gaps)


def _parts_always(gap: str) -> bool:
    """Whether whitespace is more than a line break and the indentation by a tab."""
    lines = _LINE_BREAK.split(gap)
    return len(lines) != 2 or "\t" in lines[0] or lines[1].count("\t") > 1


def _parts(line: str, follows: str, width: int) -> bool:
    """Whether the break between two lines is more than that of wrapped prose.

    width (int): The length of the longest line of the paragraph.
    """
    if not line or not follows:
        return True
    if _BULLET.match(follows) or _is_data(line) or _is_data(follows):
        return True
    if _is_field(follows) and (not follows[0].islower() or _is_field(line)):
        return True
    if follows[0].islower():
        return False
    if _is_item(line) and _is_item(follows):
        return True
    # the next word had much room in the line
    return len(line) + 1 + len(follows.split(maxsplit=1)[0]) <= _EARLY * width


def _is_field(line: str) -> bool:
    """Whether a line begins as `Name: ...`."""
    match = _FIELD.match(line)
    return match is not None and len(match.group().split()) <= _MOST_FIELD_WORDS


def _is_data(line: str) -> bool:
    """Whether a line holds hashes, encoded data, or a row of numbers."""
    words = line.split()
    numbers = [word for word in words if any(map(str.isdigit, word))]
    is_row = len(words) >= _FEWEST_NUMBERS and 5 * len(numbers) >= 4 * len(words)
    return is_row or any(len(word) >= _SHORTEST_HASH for word in numbers)


def _is_item(line: str) -> bool:
    """Whether a line may be a name alone: a few words, all in capitals."""
    words = line.split()
    if len(words) > _MOST_ITEM_WORDS or len(line) > _LONGEST_ITEM:
        return False
    if line == line.lower() == line.upper():
        return len(line) <= _LONGEST_CAPLESS_ITEM
    if line[-1] in ".?!" and any(word[0].islower() for word in words):
        return False  # the end of a sentence
    return not (words[0][0].islower() or words[-1][0].islower()) and all(
        len(word) <= 3 or not word[0].islower() for word in words
    )

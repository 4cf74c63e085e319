"""The token tree of a text as SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from unicodedata import east_asian_width

from spacy_padellm.explain.trace import DecodingTrace, LabelTrace, MentionTrace

WIDTH = 960
_MARGIN, _ROW, _BOX = 20, 34, 24  # pixels
_LETTER = 7.2  # the width of a letter of 12 pixels
_TEXT_END, _LABELS, _COUNTS, _MENTIONS = 260, 310, 500, 590  # x of the columns
_LEGEND = (
    ("generated", "generated"),
    ("accepted", "drafted, and accepted"),
    ("rejected", "drafted, and rejected"),
    ("tag", "read from sure tags, without a prompt"),
)
_STYLE = """
text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.page { fill: #ffffff; stroke: #d0d7de } text { fill: #1f2328 } .small { fill: #59636e }
.edge { fill: none; stroke: #afb8c1 } .box { fill: #f6f8fa; stroke: #afb8c1 }
.generated { fill: #ddf4ff; stroke: #54aeff }
.accepted { fill: #dafbe1; stroke: #4ac26b }
.rejected { fill: #ffebe9; stroke: #ff8182; stroke-dasharray: 3 }
.tag { fill: #fff8c5; stroke: #d4a72c }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; stroke: #3d444d } text { fill: #f0f6fc } .small { fill: #9198a1 }
.edge { stroke: #656c76 } .box { fill: #151b23; stroke: #656c76 }
.generated { fill: #0c2d6b; stroke: #388bfd }
.accepted { fill: #04260f; stroke: #2ea043 }
.rejected { fill: #490202; stroke: #da3633 } .tag { fill: #3a2d00; stroke: #9e6a03 }
}
"""
# characters that no XML may hold
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def draw(traces: Sequence[DecodingTrace]) -> str:
    """Draw token trees below each other.

    traces (Sequence[DecodingTrace]): How each window of a text was decoded.
    RETURNS (str): An SVG file, for light and dark pages.
    """
    page = _Page()
    for trace in traces:
        page.add(trace)
    page.legend()
    height = page.y + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">\n<style>{_STYLE}</style>\n'
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" '
        f'height="{height - 1}" rx="8"/>\n' + "\n".join(page.shapes) + "\n</svg>\n"
    )


def summary(trace: DecodingTrace) -> str:
    """What a text cost, in one line."""
    passes = f"{len(trace.passes)} forward pass{'es' * (len(trace.passes) != 1)}"
    sizes = " + ".join(map(str, trace.passes))
    line = f"{passes}, {trace.tokens} tokens"
    if len(trace.passes) > 1:
        line += f" ({sizes})"
    if trace.separate_tokens:
        line += f"; as separate sequences {trace.separate_tokens}"
    accepted, drafted = trace.drafts()
    if drafted:
        line += f"; {accepted} of {drafted} drafted tokens accepted"
    return line


@dataclass(slots=True)
class _Page:
    """What is drawn, and where the next thing begins."""

    shapes: list[str] = field(default_factory=list)
    y: float = _MARGIN

    def add(self, trace: DecodingTrace) -> None:
        """Draw a tree."""
        self._words(_MARGIN, self.y + 12, summary(trace), kind="small")
        self.y += 34
        top = self.y
        for label in trace.labels:
            self._label(trace, label, top)
        lines = list(_wrap(trace.text, int((_TEXT_END - _MARGIN - 16) / _LETTER)))
        height = 16 * len(lines) + 12
        self._rect(_MARGIN, top, _TEXT_END - _MARGIN, height, "box")
        for number, line in enumerate(lines):
            self._words(_MARGIN + 8, top + 18 + 16 * number, line)
        self.y = max(self.y, top + height) + _MARGIN

    def legend(self) -> None:
        """Say what the colours mean."""
        x = float(_MARGIN)
        for kind, words in _LEGEND:
            self._rect(x, self.y, 14, 14, kind)
            self._words(x + 20, self.y + 11, words, kind="small")
            x += 20 + _width(words) + 24
        self.y += 22
        words = "small numbers: the pass that ran a prompt or gave a token"
        self._words(_MARGIN, self.y + 11, words, kind="small")
        self.y += 16

    def _label(self, trace: DecodingTrace, label: LabelTrace, top: float) -> None:
        """Draw a branch: the label, its count, and its mentions."""
        y = self.y
        self._edge(_TEXT_END, top + _BOX / 2, _LABELS, y + _BOX / 2)
        end = self._box(_LABELS, y, label.name, "box", number=label.number)
        if not label.number:
            self._tagged(trace, label, end)
            return
        self._edge(end, y + _BOX / 2, _COUNTS, y + _BOX / 2)
        end = self._box(_COUNTS, y, str(label.count), "generated")
        shown = [mention for mention in label.mentions if mention.tokens]
        for mention in shown:
            self._edge(end, y + _BOX / 2, _MENTIONS, self.y + _BOX / 2)
            self._mention(mention)
        if not shown:
            self.y += _ROW

    def _tagged(self, trace: DecodingTrace, label: LabelTrace, end: float) -> None:
        """Draw the mentions of a label whose tags are sure."""
        found = [m for m in trace.mentions if m.label == label.label]
        x, y = float(_COUNTS), self.y + _BOX / 2
        self._edge(end, y, x, y)
        x = self._box(x, self.y, str(len(found)), "tag")
        if found:
            self._edge(x, y, _MENTIONS, y)
        x = _MENTIONS
        for mention in found:
            width = _width(mention.text) + 12
            if x + width > WIDTH - _MARGIN and x > _MENTIONS:
                x, self.y = _MENTIONS, self.y + _ROW
            x = self._box(x, self.y, mention.text, "tag") + 6
        self.y += _ROW

    def _mention(self, mention: MentionTrace) -> None:
        """Draw the tokens of a mention."""
        x = self._box(_MENTIONS, self.y, str(mention.index), "box") + 6
        for token in mention.tokens:
            width = _width(token.text) + 22
            if x + width > WIDTH - _MARGIN and x > _MENTIONS + 40:
                x, self.y = _MENTIONS + 40, self.y + _ROW
            x = self._box(x, self.y, token.text, token.origin, number=token.number) + 4
        self.y += _ROW

    def _box(
        self, x: float, y: float, words: str, kind: str, *, number: int = 0
    ) -> float:
        """Draw words in a box; returns the x of its end."""
        if words[:1].isspace():  # such tokens begin a word
            words = f"␣{words[1:]}"
        room = WIDTH - _MARGIN - x - 22
        if _width(words) > room:
            words = words[: max(int(room / _LETTER / 2) - 1, 1)] + "…"
        width = _width(words) + (22 if number else 12)
        self._rect(x, y, width, _BOX, kind)
        self._words(x + 6, y + 16, words)
        if number:
            position = f'x="{x + width - 10:.1f}" y="{y + 11:.1f}"'
            style = 'class="small" style="font-size: 9px"'
            self.shapes.append(f"<text {position} {style}>{number}</text>")
        return x + width

    def _rect(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        self.shapes.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" rx="4"/>'
        )

    def _words(self, x: float, y: float, words: str, *, kind: str = "") -> None:
        if not words.strip():
            return
        style = f' class="{kind}"' if kind else ""
        # fonts differ: the browser makes the words fit
        self.shapes.append(
            f'<text{style} x="{x:.1f}" y="{y:.1f}" textLength="{_width(words):.1f}" '
            f'lengthAdjust="spacingAndGlyphs">{_xml(words)}</text>'
        )

    def _edge(self, x: float, y: float, x_end: float, y_end: float) -> None:
        middle = (x + x_end) / 2
        self.shapes.append(
            f'<path class="edge" d="M{x:.1f} {y:.1f} C{middle:.1f} {y:.1f} '
            f'{middle:.1f} {y_end:.1f} {x_end:.1f} {y_end:.1f}"/>'
        )


def _width(words: str) -> float:
    """The width of words in pixels; letters of Chinese and the like are wide."""
    return _LETTER * sum(1 + (east_asian_width(letter) in "WF") for letter in words)


def _wrap(text: str, letters: int) -> Iterator[str]:
    """Lines of at most this many narrow letters, cut between words where possible."""
    line, room = "", letters * _LETTER
    for word in re.findall(r"\S+\s*|\s+", text):
        if line and _width(line + word.rstrip()) > room:
            yield line.rstrip()
            line = ""
        start, end = 0, len(word.rstrip())
        # a long word, or a text without blanks
        while not line and _width(word[start : min(end, start + letters + 1)]) > room:
            size = letters
            while _width(word[start : start + size]) > room:
                size -= 1
            yield word[start : start + size]
            start += size
        line += word[start:]
    if line.strip():
        yield line.rstrip()


def _xml(words: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", words))

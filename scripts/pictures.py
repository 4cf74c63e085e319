"""The pictures of the README and the documentation, from real runs of a model.

python scripts/pictures.py [--model bundled-en]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from PIL import ImageFont
from spacy.tokens import Doc
from wasabi import msg

from spacy_padellm.analysis.inputs import load_for_analysis
from spacy_padellm.explain.draw import draw
from spacy_padellm.explain.run import explain
from spacy_padellm.show.render import displacy_data
from spacy_padellm.writable import write_whole

REPOSITORY = Path(__file__).parent.parent
ASSETS = REPOSITORY / "docs" / "assets"
RESULTS = REPOSITORY / "benchmarks" / "results"
SENTENCE = "Angela Merkel met Emmanuel Macron in Berlin."
PARAGRAPH = (
    "German Chancellor Angela Merkel met French President Emmanuel Macron in Berlin on "
    "Tuesday to discuss the future of the European Union. Volkswagen and Airbus sent "
    "their chairmen, Reuters reported. Brazil and Argentina, where the two leaders had "
    "met in the spring, did not comment."
)
WIDTH, MARGIN, LINE, SIZE = 860, 24, 40, 17  # pixels
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@dataclass(frozen=True)
class Theme:
    """The colours of a page, and how much of an entity's colour is in its box."""

    page: str
    border: str
    text: str
    share: float


THEMES = {
    "light": Theme("#ffffff", "#d0d7de", "#1f2328", 1.0),
    "dark": Theme("#0d1117", "#3d444d", "#f0f6fc", 0.35),
}
METHODS = {
    "tree": "spacy-padellm (token tree)",
    "vLLM": "vLLM, the paper's prompts",
    "onestep": "OneStep",
    "batch": "PaDeLLM-Batch, the paper's",
    "aug": "AutoReg-Aug",
    "struct": "AutoReg-Struct",
}
CORPORA = {
    "news (CoNLL-2003)": "conll03_dev",
    "web text (UNER EWT)": "uner_en_ewt_dev",
    "tweets and comments (WNUT-17)": "wnut17_dev",
}
FEWEST = 20  # entities of a point of the reliability curve
CHART_STYLE = """
text { font: 14px "DejaVu Sans", Verdana, sans-serif; fill: #1f2328 }
.small { font-size: 12px } .page { fill: #ffffff; stroke: #d0d7de }
.ours { fill: #1f883d } .others { fill: #afb8c1 }
path { fill: none; stroke-width: 2; stroke: #afb8c1 }
.c0 { stroke: #0969da; fill: #0969da } .c1 { stroke: #bc4c00; fill: #bc4c00 }
.c2 { stroke: #1f883d; fill: #1f883d } path.c0, path.c1, path.c2 { fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .page { fill: #0d1117; stroke: #3d444d }
.ours { fill: #3fb950 } .others { fill: #656c76 } path { stroke: #656c76 }
.c0 { stroke: #58a6ff; fill: #58a6ff } .c1 { stroke: #f0883e; fill: #f0883e }
.c2 { stroke: #3fb950; fill: #3fb950 }
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled-en")
    args = parser.parse_args()
    nlp, pipe = load_for_analysis(args.model)
    doc = nlp(PARAGRAPH)
    for name, theme in THEMES.items():
        save(f"entities-{name}.svg", draw_entities(doc, pipe.labels, theme))
    for name, all_prompts in (("tree", True), ("tags", False)):
        _, records = explain(nlp, pipe, SENTENCE, all_prompts=all_prompts)
        save(f"{name}.svg", draw(records))
    found = json.loads((RESULTS / "decoding-0.6B-cpu.json").read_text("utf8"))
    save("latency.svg", draw_latency(found))
    stored = RESULTS / f"reliability-{args.model}.json"
    measured = json.loads(stored.read_text("utf8"))
    curves = {name: measured[key]["reliability"] for name, key in CORPORA.items()}
    save("reliability.svg", draw_reliability(curves))


def save(name: str, svg: str) -> None:
    write_whole(ASSETS / name, svg.encode())
    msg.good(str((ASSETS / name).relative_to(REPOSITORY)))


# The paragraph: displaCy's data as SVG, which GitHub shows


def draw_entities(doc: Doc, labels: Any, theme: Theme) -> str:
    """Draw a text with its entities, as displaCy does in HTML."""
    data = displacy_data(doc, labels=labels)
    shapes: list[str] = []
    x, y = float(MARGIN), float(MARGIN)
    for words, entity in pieces(data):
        width = measure(words) + (0 if entity is None else 20 + small(entity["label"]))
        if x + width > WIDTH - MARGIN and words.strip():
            x, y = float(MARGIN), y + LINE
        if entity is not None:
            color = mix(entity["params"]["style"], theme)
            shapes.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="29" rx="6" '
                f'fill="{color}"/>'
            )
            label = escape(entity["label"])
            shapes.append(
                f'<text class="label" x="{x + width - small(label) - 7:.1f}" '
                f'y="{y + 19:.1f}">{label}</text>'
            )
        if words.strip():
            shapes.append(
                f'<text x="{x + (7 if entity else 0):.1f}" y="{y + 20:.1f}" '
                f'textLength="{measure(words.rstrip()):.1f}" '
                f'lengthAdjust="spacingAndGlyphs">{escape(words.rstrip())}</text>'
            )
        x += width
    height = y + LINE + MARGIN - 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">\n<style>text {{ font: '
        f'{SIZE}px "DejaVu Sans", Verdana, sans-serif; fill: {theme.text} }} .label '
        "{ font-size: 11px; font-weight: bold; opacity: 0.8 }</style>\n"
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8" '
        f'fill="{theme.page}" stroke="{theme.border}"/>\n' + "\n".join(shapes) + "\n"
        "</svg>\n"
    )


def pieces(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The words and the entities of a text, each with the blank after it."""
    text, end = data["text"], 0
    for entity in [*data["ents"], {"start": len(text), "end": len(text)}]:
        for word in text[end : entity["start"]].split(" "):
            if word:
                yield f"{word} ", None
        if entity["start"] < entity["end"]:
            yield text[entity["start"] : entity["end"]], entity
        end = entity["end"]
        if text[end : end + 1] == " ":
            yield " ", None


def mix(style: str, theme: Theme) -> str:
    """The colour of displaCy's style on a theme's page."""
    color = style.partition("background: ")[2][:7]
    pairs = zip(channels(color), channels(theme.page), strict=True)
    mixed = (round(theme.share * a + (1 - theme.share) * b) for a, b in pairs)
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def channels(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def measure(words: str, size: int = SIZE) -> float:
    return ImageFont.truetype(str(FONT), size).getlength(words)


def small(words: str) -> float:
    return 1.12 * measure(words, 11)


# The chart of a stored measurement


def draw_latency(found: dict[str, Any]) -> str:
    """Draw how long one text takes by method, as bars."""
    means = {result["name"]: result["mean_ms"] for result in found["results"]}
    scale = (WIDTH - 350) / max(means[name] for name in METHODS)
    shapes = []
    for row, (name, words) in enumerate(METHODS.items()):
        y, width = MARGIN + 30 * row, scale * means[name]
        kind = "ours" if name == "tree" else "others"
        shapes += [
            f'<text x="240" y="{y + 15}" text-anchor="end">{escape(words)}</text>',
            f'<rect class="{kind}" x="250" y="{y}" width="{width:.1f}" height="20"/>',
            f'<text x="{258 + width:.1f}" y="{y + 15}">{means[name]:,.0f} ms</text>',
        ]
    y = MARGIN + 30 * len(METHODS)
    words = "milliseconds a text, one at a time; Qwen3-0.6B's shape, one CPU thread"
    shapes.append(f'<text class="small" x="250" y="{y + 12}">{words}</text>')
    height = y + MARGIN + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">\n<style>{CHART_STYLE}</style>\n'
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" '
        f'height="{height - 1}" rx="8"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def draw_reliability(curves: dict[str, dict[str, Any]]) -> str:
    """Draw the share of right entities by their score; ideal is the diagonal."""
    side, left, top = 360, 70, MARGIN
    bottom = top + side
    shapes = [f'<path d="M{left} {bottom} L{left + side} {top}" stroke-dasharray="4"/>']
    shapes.append(f'<path d="M{left} {top} V{bottom} H{left + side}"/>')
    for tenth in range(0, 11, 2):
        x, y, words = left + side * tenth / 10, bottom - side * tenth / 10, tenth / 10
        shapes += [
            f'<text class="small" x="{x}" y="{bottom + 20}" text-anchor="middle">'
            f"{words}</text>",
            f'<text class="small" x="{left - 8}" y="{y + 4}" text-anchor="end">'
            f"{words}</text>",
        ]
    shapes.append(f'<text x="{left + 110}" y="{bottom + 44}">score of an entity</text>')
    shapes.append(
        f'<text x="22" y="{top + side / 2}" text-anchor="middle" '
        f'transform="rotate(-90 22 {top + side / 2})">share that is right</text>'
    )
    for number, (name, curve) in enumerate(curves.items()):
        points = [
            (left + side * b["score"], bottom - side * b["right"])
            for b in curve["bins"]
            if b["count"] >= FEWEST
        ]
        line = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        shapes.append(f'<path class="c{number}" d="M{line}"/>')
        shapes += [
            f'<circle class="c{number}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
            for x, y in points
        ]
        x, y = left + side + 40, top + 30 + 52 * number
        shapes += [
            f'<circle class="c{number}" cx="{x}" cy="{y - 5}" r="5"/>',
            f'<text x="{x + 14}" y="{y}">{escape(name)}</text>',
            f'<text class="small" x="{x + 14}" y="{y + 18}">{curve["count"]:,} '
            f"entities, calibration error {curve['error']:.3f}</text>",
        ]
    height = bottom + 60
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">\n<style>{CHART_STYLE}</style>\n'
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" '
        f'height="{height - 1}" rx="8"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


if __name__ == "__main__":
    main()

"""Tests of the pictures in docs/assets."""

from __future__ import annotations

import json
from dataclasses import asdict
from xml.etree import ElementTree

import pytest
import spacy

from spacy_padellm.analysis.reliability import measure_reliability

pytest.importorskip("matplotlib")
pictures = pytest.importorskip("pictures")


def words(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_draw_a_text_with_its_entities(theme: str) -> None:
    doc = spacy.blank("en")("Bob & Al of <Acme> met Ann Lee in Oslo. " * 4)
    ents = [doc[0:1], doc[9:11]]
    doc.set_ents([spacy.tokens.Span(doc, e.start, e.end, label="PER") for e in ents])
    svg = pictures.draw_entities(doc, ["PER"], pictures.THEMES[theme])
    found = words(svg)
    assert found.count("PER") == 2
    assert " ".join(w for w in found if w != "PER").split() == doc.text.split()


def test_pictures_draw_the_stored_latencies() -> None:
    stored = pictures.RESULTS / "decoding-0.6B-cpu.json"
    svg = pictures.draw_latency(json.loads(stored.read_text("utf8")))
    assert "728 ms" in words(svg)
    assert len(ElementTree.fromstring(svg).findall("{*}rect")) == 7


def test_pictures_draw_points_of_enough_entities() -> None:
    scores = [(0.9, True)] * 30 + [(0.6, False)] * pictures.FEWEST + [(0.1, True)]
    curve = asdict(measure_reliability(scores))
    svg = pictures.draw_reliability({"news": curve, "web": curve})
    root = ElementTree.fromstring(svg)
    points = [c for c in root.findall("{*}circle") if c.get("r") == "4"]
    assert len(points) == 2 * 2
    heights = [float(c.get("cy", "")) for c in points[:2]]
    assert heights == [pictures.MARGIN + 360, pictures.MARGIN]
    assert {"news", "web"} <= {*words(svg)}

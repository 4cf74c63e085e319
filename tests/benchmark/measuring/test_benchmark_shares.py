from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from helpers import GOLD

from spacy_padellm.benchmark.measuring.measure import Measurement
from spacy_padellm.benchmark.measuring.shares import Shares, measure_shares
from spacy_padellm.benchmark.results.report import share_table
from spacy_padellm.benchmark.subjects.shapes import make_shaped
from spacy_padellm.lm.language_model import LanguageModel

TEXTS = list(GOLD)[:2]


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    cpu = torch.device("cpu")
    return make_shaped("tiny", TEXTS, device=cpu, dtype=torch.float32, seed=0)


def test_shares_add_up_to_the_whole(lm: LanguageModel) -> None:
    def run(text: str) -> None:
        ids = lm.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            lm.model(ids)

    shares = asdict(measure_shares(run, TEXTS, lm))
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0


def test_shares_products_are_those_of_products(lm: LanguageModel) -> None:
    square = torch.ones(500, 500)
    shares = measure_shares(lambda _: square @ square, TEXTS, lm)
    assert shares.products > 0.5
    assert shares.attention == shares.tokenizer == 0


def test_shares_tokenizer_is_left_as_it_was(lm: LanguageModel) -> None:
    call = type(lm.tokenizer).__call__
    shares = measure_shares(lambda text: lm.tokenizer(text * 500), TEXTS, lm)
    assert shares.tokenizer > 0.5
    assert type(lm.tokenizer).__call__ is call


def test_shares_table_has_a_row_for_each_way_to_run() -> None:
    shares = Shares(0.5, 0.2, 0.2, 0.0, 0.1)
    result = Measurement("tree", "tree", [1.0], 1.0, 9, stream_shares=shares)
    head, _, *rows = share_table([result]).splitlines()
    assert head.split("  ")[0] == "% of the time"
    assert len(rows) == 1
    assert rows[0].startswith("tree, stream")
    assert "50.0" in rows[0]


def test_shares_table_is_empty_without_a_model() -> None:
    assert share_table([Measurement("ner", "ner", [1.0], None, 9)]) == ""

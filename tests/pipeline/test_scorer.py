"""The component's scores."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_padellm.pipeline.scorer import _warn, make_ner_scorer, ner_score

NLP = spacy.blank("en")
Places = list[tuple[int, int, str]]


def make_doc(*, ents: Places | None = None, group: Places | None = None) -> Doc:
    doc = NLP.make_doc("Bob met Bob in New York City")
    if ents is not None:
        doc.set_ents([Span(doc, *place) for place in ents])
    if group is not None:
        doc.spans["padellm"] = [Span(doc, *place) for place in group]
    return doc


def score(*pairs: tuple[Doc, Doc]) -> dict[str, Any]:
    examples = [Example(predicted, gold) for predicted, gold in pairs]
    return ner_score(examples, spans_key="padellm")


def test_scoring_entities_are_spacys() -> None:
    found, gold = make_doc(ents=[(0, 1, "PER")]), make_doc(ents=[(2, 3, "PER")])
    assert score((found, gold))["ents_f"] == 0


def test_scoring_strings_leave_places_aside() -> None:
    found, gold = make_doc(ents=[(0, 1, "PER")]), make_doc(ents=[(2, 3, "PER")])
    assert score((found, gold))["strings_f"] == 1


def test_scoring_strings_count_repeats() -> None:
    found = make_doc(ents=[(0, 1, "PER")])
    gold = make_doc(ents=[(0, 1, "PER"), (2, 3, "PER")])
    scores = score((found, gold))
    assert (scores["strings_p"], scores["strings_r"]) == (1, 0.5)


def test_scoring_strings_count_a_repeated_span_once() -> None:
    gold = make_doc(group=[(0, 1, "PER"), (0, 1, "PER")])
    gold.spans["padellm"].append(Span(gold, 0, 1, "PER", span_id="b"))
    found = make_doc(group=[(0, 1, "PER")])
    scores = score((found, gold))
    assert scores["strings_r"] == scores["spans_padellm_r"] == 1


def test_scoring_strings_of_another_label_are_wrong() -> None:
    found, gold = make_doc(ents=[(0, 1, "ORG")]), make_doc(ents=[(0, 1, "PER")])
    assert score((found, gold))["strings_f"] == 0


def test_scoring_strings_are_compared_text_by_text() -> None:
    bob, nothing = make_doc(ents=[(0, 1, "PER")]), make_doc(ents=[])
    assert score((bob, nothing), (nothing, bob))["strings_f"] == 0


def test_scoring_strings_are_micro_averaged() -> None:
    gold = make_doc(ents=[(0, 1, "PER"), (2, 3, "PER"), (4, 7, "LOC")])
    found = make_doc(ents=[(0, 1, "PER"), (2, 3, "PER")])
    assert score((found, gold))["strings_r"] == pytest.approx(2 / 3)


def test_scoring_strings_per_type() -> None:
    gold = make_doc(ents=[(0, 1, "PER"), (4, 7, "LOC")])
    found = make_doc(ents=[(0, 1, "PER"), (4, 6, "LOC")])
    scores = score((found, gold))["strings_per_type"]
    assert {label: values["f"] for label, values in scores.items()} == {
        "LOC": 0,
        "PER": 1,
    }


def test_scoring_strings_include_nested_mentions() -> None:
    nested: Places = [(4, 7, "LOC"), (4, 6, "ORG")]
    gold = make_doc(ents=nested[:1], group=nested)
    found = make_doc(ents=nested[:1], group=nested[:1])
    assert score((found, gold))["strings_r"] == 0.5


def test_scoring_groups_are_scored_where_the_gold_has_them() -> None:
    nested: Places = [(4, 7, "LOC"), (4, 6, "ORG")]
    gold = make_doc(ents=nested[:1], group=nested)
    found = make_doc(ents=nested[:1], group=nested[:1])
    scores = score((found, gold))
    assert (scores["spans_padellm_p"], scores["spans_padellm_r"]) == (1, 0.5)


def test_scoring_gold_without_groups_has_no_score_of_them() -> None:
    doc = make_doc(ents=[(0, 1, "PER")])
    assert not any(key.startswith("spans_") for key in score((doc, doc)))


def test_scoring_gold_that_has_groups_only_is_scored() -> None:
    doc = make_doc(group=[(4, 7, "LOC")])
    scores = score((doc, doc))
    assert (scores["strings_f"], scores["spans_padellm_f"]) == (1, 1)


def test_scoring_unannotated_gold_is_skipped() -> None:
    bob = make_doc(ents=[(0, 1, "PER")])
    scores = score((bob, make_doc()), (bob, bob))
    assert (scores["strings_p"], scores["ents_p"]) == (1, 1)


def test_scoring_partly_annotated_gold_has_no_strings() -> None:
    bob, gold = make_doc(ents=[(0, 1, "PER")]), make_doc()
    gold.set_ents([Span(gold, 4, 7, "LOC")], default="missing")
    assert score((bob, gold))["strings_p"] is None


def test_scoring_nothing_annotated_is_none() -> None:
    scores = score((make_doc(ents=[]), make_doc()))
    assert scores["strings_f"] is scores["ents_f"] is None


def test_scoring_key_is_configurable() -> None:
    doc = make_doc(ents=[])
    doc.spans["mine"] = [Span(doc, 0, 1, "PER")]
    scores = make_ner_scorer("mine")([Example(doc, doc)])
    assert scores["spans_mine_f"] == 1


def test_scoring_scorer_takes_the_key_of_the_pipe() -> None:
    doc = make_doc(ents=[(0, 1, "PER")])
    doc.spans["mine"] = [Span(doc, 0, 1, "PER")]
    scores = make_ner_scorer()([Example(doc, doc)], spans_key="mine", threshold=0.5)
    assert (scores["ents_f"], scores["spans_mine_f"]) == (1, 1)


def test_scoring_leaves_out_labels_that_the_gold_does_not_annotate() -> None:
    places: Places = [(0, 1, "PER"), (4, 7, "LOC")]
    found = make_doc(ents=places, group=places)
    gold = make_doc(ents=places[1:], group=places[1:])
    gold.user_data["padellm_labels"] = ["LOC"]
    scores = score((found, gold))
    assert scores["ents_f"] == scores["strings_f"] == scores["spans_padellm_f"] == 1
    assert [ent.label_ for ent in found.ents] == ["PER", "LOC"]
    del gold.user_data["padellm_labels"]
    assert score((found, gold))["ents_p"] == 0.5


def test_scoring_leaves_out_gold_mentions_of_labels_that_are_not_annotated() -> None:
    places: Places = [(0, 1, "PER"), (4, 7, "LOC")]
    found = make_doc(ents=places[:1], group=places[:1])
    gold = make_doc(ents=places, group=places)
    gold.user_data["padellm_labels"] = ["PER"]
    scores = score((found, gold))
    assert scores["ents_r"] == scores["strings_r"] == scores["spans_padellm_r"] == 1
    assert [ent.label_ for ent in gold.ents] == ["PER", "LOC"]


def test_scoring_in_part_leaves_out_gold_mentions_alike() -> None:
    found = make_doc(ents=[(0, 1, "PER"), (3, 4, "PER")])
    gold = make_doc(ents=[(0, 1, "PER"), (4, 7, "LOC")])
    gold.set_ents(gold.ents, missing=[gold[3:4]])
    gold.user_data["padellm_labels"] = ["PER"]
    scores = score((found, gold))
    assert (scores["ents_p"], scores["ents_r"]) == (1, 1)


def test_scoring_scorer_can_be_pickled() -> None:
    scorer = make_ner_scorer("mine")
    assert pickle.loads(pickle.dumps(scorer)) == scorer


@pytest.mark.parametrize(
    ("golds", "annotated"), [([], 0), ([None, None], 0), ([None, []], 1)]
)
def test_scoring_without_gold_mentions_is_told_once(
    golds: list[Places | None], annotated: int, caplog: pytest.LogCaptureFixture
) -> None:
    _warn.cache_clear()
    examples = [Example(make_doc(), make_doc(ents=gold)) for gold in golds]
    scorer = make_ner_scorer()
    assert not scorer(examples, labels=("PER",))["ents_f"]
    scorer(examples, labels=("PER",))
    (record,) = caplog.records
    assert f"the {len(golds)} texts to score ({annotated} of them" in record.message


def test_scoring_labels_that_are_not_found_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _warn.cache_clear()
    gold = make_doc(ents=[(0, 1, "PER"), (4, 7, "GPE")])
    for _ in range(2):
        make_ner_scorer()([Example(gold, gold)], labels=("LOC", "PER"))
    (record,) = caplog.records
    assert "mentions of the labels GPE," in record.message
    assert "It finds: LOC, PER." in record.message


def test_scoring_labels_of_a_text_are_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _warn.cache_clear()
    gold = make_doc(ents=[(4, 7, "GPE")])
    gold.user_data["padellm_labels"] = ["GPE"]
    make_ner_scorer()([Example(gold, gold)], labels=("PER",))
    assert not caplog.records

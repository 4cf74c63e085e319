"""Spans after tokens were merged or split."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import spacy
from helpers import NAME, NESTED, TEXT, gold_examples, pipe_of, trained
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span, SpanGroup
from span_helpers import NLP, TEXT as WORDS, CountedDoc, annotated, scored

from spacy_padellm.mention.calibration import Promise, Tuning
from spacy_padellm.text.moved import move_spans
from spacy_padellm.text.spans import promised_key

MOVE = "padellm_move_spans"
PROMISED = promised_key("padellm")


def merging(*later: str) -> Language:
    nlp = trained()
    for name in ("merge_entities", *later):
        nlp.add_pipe(name)
    return nlp


def at_the_end(nlp: Language) -> Doc:
    """A Doc that ends with a mention of two words, after later components."""
    doc = nlp.make_doc("Acme hired Anna Smith")
    doc.ents = [Span(doc, 2, 4, "PER")]
    attrs = {
        "scores": [1.0],
        "statuses": ["found"],
        "places": [[11, 21, "PER"]],
        "dropped": [],
    }
    doc.spans["padellm"] = SpanGroup(doc, attrs=attrs, spans=list(doc.ents))
    for name, pipe in nlp.pipeline:
        doc = doc if name == NAME else pipe(doc)
    return doc


def promising(*later: str) -> Language:
    """A pipeline that promises a recall."""
    nlp = merging(*later)
    lowest = dict.fromkeys(pipe_of(nlp).labels, 0.1)
    pipe_of(nlp).set_tuning(Tuning(promise=Promise("recall", 0.9, 0.9, lowest)))
    return nlp


def mentions(doc: Doc, key: str = "padellm") -> list[tuple[str, str, float]]:
    group: Any = doc.spans[key]
    scores = group.attrs["scores"]
    return [(s.text, s.label_, x) for s, x in zip(group, scores, strict=True)]


def test_moved_spans_hold_the_same_words() -> None:
    before, doc = trained()(TEXT), merging(MOVE)(TEXT)
    assert doc[0].text == "Anna Smith"
    assert mentions(doc) == mentions(before) != mentions(merging()(TEXT))


def test_moved_spans_keep_their_scores() -> None:
    doc = merging(MOVE)(TEXT)
    scores = [span._.padellm_score for span in doc.spans["padellm"]]
    assert scores == [ent._.padellm_score for ent in doc.ents]
    assert None not in scores


def test_moved_spans_inside_a_token_are_dropped() -> None:
    doc = trained()(NESTED)
    outer, (text, label, score) = mentions(doc)
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[1:4])
    assert mentions(move_spans(doc)) == [outer]
    dropped = doc.spans["padellm"].attrs["dropped"]
    assert dropped == [{"label": label, "text": text, "score": score}]


def test_moved_spans_inside_a_token_read_the_text_once() -> None:
    doc = CountedDoc(NLP.vocab, words=WORDS.split())
    annotated(scored("Bank"), scored("of"), scored("Paris"), doc=doc)
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[1:4])
    doc.joined = 0
    assert len(move_spans(doc).spans["padellm"].attrs["dropped"]) == 3
    assert doc.joined == 1


def test_moved_spans_of_split_tokens() -> None:
    doc = trained()(TEXT)
    before = mentions(doc)
    with doc.retokenize() as retokenizer:
        retokenizer.split(doc[0], ["An", "na"], heads=[doc[0], doc[0]])
    assert mentions(move_spans(doc)) == before


def test_moved_spans_of_unchanged_tokens_are_the_same() -> None:
    doc = trained()(TEXT)
    before, attrs = mentions(doc), dict(doc.spans["padellm"].attrs)
    assert mentions(move_spans(doc)) == before
    assert doc.spans["padellm"].attrs == attrs


def test_moved_spans_of_others_are_left_alone() -> None:
    doc = trained()(TEXT)
    doc.spans["mine"] = [doc[0:1]]
    group = doc.spans["mine"]
    assert move_spans(doc).spans["mine"] is group


def test_moved_spans_are_needed_to_save_a_doc() -> None:
    with pytest.raises(IndexError, match="E035"):
        pickle.dumps(at_the_end(merging()))
    doc = at_the_end(merging(MOVE))
    assert pickle.loads(pickle.dumps(doc)).text == doc.text
    data = DocBin(store_user_data=True, docs=[doc]).to_bytes()
    (read,) = DocBin(store_user_data=True).from_bytes(data).get_docs(doc.vocab)
    assert mentions(read) == mentions(doc)


def test_moved_spans_are_written_by_annotate() -> None:
    pytest.importorskip("pyarrow")
    from spacy_padellm.annotate.writers import WRITERS

    doc = at_the_end(merging())
    assert mentions(WRITERS["spacy"].keep(doc))[-1][:2] == ("Anna Smith", "PER")


def test_moved_spans_of_a_promise() -> None:
    doc = promising(MOVE)(TEXT)
    assert doc[0].text == "Anna Smith"
    assert mentions(doc, PROMISED)[0][:2] == ("Anna Smith", "PER")
    score = mentions(doc, PROMISED)[0][2]
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
    dropped = move_spans(doc).spans[PROMISED].attrs["dropped"]
    assert dropped == [{"label": "PER", "text": "Anna Smith", "score": score}]


def test_moved_spans_of_a_group_without_dropped() -> None:
    doc = promising()(TEXT)
    group: Any = doc.spans[PROMISED]
    group.attrs = {k: v for k, v in group.attrs.items() if k != "dropped"}
    assert mentions(move_spans(doc), PROMISED)[0][0] == "Anna Smith"


def test_moved_spans_of_a_promise_are_written_by_annotate() -> None:
    pytest.importorskip("pyarrow")
    from spacy_padellm.annotate.writers import WRITERS

    doc = WRITERS["spacy"].keep(promising()(TEXT))
    assert mentions(doc, PROMISED) == mentions(promising(MOVE)(TEXT), PROMISED)


def test_moved_spans_of_a_promise_are_scored() -> None:
    nlp, expected = promising(), trained()
    scores = [n.evaluate(gold_examples(n))["ents_f"] for n in (nlp, expected)]
    assert scores[0] == scores[1]


def test_moved_spans_keep_their_alternatives() -> None:
    doc = trained()(NESTED)
    group: Any = doc.spans["padellm"]
    others = [{"start": s.start_char, "label": "PER"} for s in group]
    group.attrs = {**group.attrs, "alternatives": [[other] for other in others]}
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
    assert [text for text, *_ in mentions(move_spans(doc))] == ["Paris"]
    assert doc.spans["padellm"].attrs["alternatives"] == [[others[1]]]


def test_moved_spans_are_scored() -> None:
    nlp, expected = merging(), trained()
    # spaCy aligns the merged tokens with the gold ones
    scores = [n.evaluate(gold_examples(n)) for n in (nlp, expected)]
    assert scores[0]["ents_f"] == scores[1]["ents_f"]


def test_moved_spans_component_is_saved(tmp_path: Any) -> None:
    merging(MOVE).to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    assert nlp.pipe_names == [NAME, "merge_entities", MOVE]
    assert mentions(nlp(TEXT)) == mentions(merging(MOVE)(TEXT))

"""Prediction: what spaCy expects of a pipe that annotates."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import spacy
import torch
from helpers import (
    DOC_SPANS,
    EMPTY,
    GOLD,
    NAME,
    NESTED,
    REFUSING,
    SMALL,
    TEXT,
    TOO_LONG,
    entities,
    found,
    gold_examples,
    make_nlp,
    pipe_of,
    swallow,
    train,
    trained,
)
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.pipeline.validation import check_cfg
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import PackedBatch

CFG = {
    "spans_key": "padellm",
    "threshold": None,
    "dedup": "on",
    "alignment_mode": "expand",
    "existing": "keep",
}


@pytest.fixture(scope="module")
def nlp() -> Language:
    return trained()


def refusing() -> Language:
    """A pipeline that fails on TOO_LONG."""
    return trained(span_getter=REFUSING)


def test_component_predict_looks_up_the_thresholds_once_a_doc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nlp = trained()
    pipe, calls = pipe_of(nlp), []
    lowest_scores = PaDeLLMNER.lowest_scores

    def noted(self: PaDeLLMNER) -> Any:
        calls.append(self)
        return lowest_scores(self)

    monkeypatch.setattr(PaDeLLMNER, "lowest_scores", noted)
    predictions = pipe.predict([nlp.make_doc(TEXT)] * 2)
    assert [len(mentions.spans) for mentions in predictions] == [3, 3]
    assert len(calls) == 2


def test_component_predict_threshold_that_was_broken_costs_its_docs_only() -> None:
    nlp = trained()
    failed: list[str] = []
    nlp.set_error_handler(swallow(failed))
    pipe_of(nlp).cfg["threshold"] = "high"
    assert list(nlp.pipe([TEXT, EMPTY])) == []
    assert failed == [TEXT, EMPTY]


def test_component_predict_finds_the_trained_entities(nlp: Language) -> None:
    assert found(nlp.pipe(GOLD)) == [GOLD[text] for text in GOLD]


def test_component_predict_leaves_the_doc_alone(nlp: Language) -> None:
    doc = nlp.make_doc(TEXT)
    before = doc.to_bytes()
    pipe_of(nlp).predict([doc])
    assert doc.to_bytes() == before


def test_component_predict_gives_one_result_for_each_doc(nlp: Language) -> None:
    docs = [nlp.make_doc(text) for text in ("", TEXT, "  ", EMPTY)]
    results = pipe_of(nlp).predict(docs)
    assert [len(result.spans) for result in results] == [0, 3, 0, 0]


def test_component_predict_of_no_docs_is_empty(nlp: Language) -> None:
    assert pipe_of(nlp).predict([]) == []


@pytest.mark.parametrize("text", [" ", "\n\t\n", EMPTY])
def test_component_predict_nothing_found_is_marked_outside(
    nlp: Language, text: str
) -> None:
    assert nlp(text).has_annotation("ENT_IOB")


def test_component_predict_empty_doc_has_a_group(nlp: Language) -> None:
    assert list(nlp("").spans["padellm"]) == []


def test_component_predict_nested_mentions_are_in_the_group(nlp: Language) -> None:
    doc = nlp(NESTED)
    assert found([doc]) == [[("Bank of Paris", "ORG"), ("Paris", "LOC")]]


def test_component_predict_entities_are_flat(nlp: Language) -> None:
    assert len(nlp(NESTED).ents) == 1


def test_component_predict_scores_are_probabilities(nlp: Language) -> None:
    scores = nlp(TEXT).spans["padellm"].attrs["scores"]
    assert len(scores) == len(GOLD[TEXT])
    assert all(0.5 < score <= 1 for score in scores)


def test_component_predict_entity_has_the_score_of_its_mention(nlp: Language) -> None:
    doc = nlp(TEXT)
    scores = doc.spans["padellm"].attrs["scores"]
    assert [ent._.padellm_score for ent in doc.ents] == scores


def test_component_predict_twice_is_the_same(nlp: Language) -> None:
    doc = nlp(TEXT)
    once = doc.to_bytes()
    assert nlp.get_pipe(NAME)(doc).to_bytes() == once


# The stream


def test_component_predict_pipe_gives_the_same_docs_in_order(nlp: Language) -> None:
    docs = [nlp.make_doc(text) for text in [*GOLD, "", *GOLD]]
    piped = list(pipe_of(nlp).pipe(iter(docs), batch_size=3))
    assert all(a is b for a, b in zip(docs, piped, strict=True))


def test_component_predict_pipe_is_lazy(nlp: Language) -> None:
    taken = []

    def stream() -> Iterator[Doc]:
        for text in GOLD:
            taken.append(text)
            yield nlp.make_doc(text)

    next(pipe_of(nlp).pipe(stream(), batch_size=2))
    assert len(taken) == 2


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_component_predict_batches_change_nothing(
    nlp: Language, batch_size: int
) -> None:
    docs = nlp.pipe(GOLD, batch_size=batch_size)
    assert [entities(d) for d in docs] == [entities(nlp(text)) for text in GOLD]


def test_component_predict_pipe_keeps_the_context_of_tuples(nlp: Language) -> None:
    pairs = list(nlp.pipe(zip(GOLD, range(5), strict=True), as_tuples=True))
    assert [(d.text, i) for d, i in pairs] == [(t, i) for i, t in enumerate(GOLD)]


# Docs that fail


def test_component_predict_error_raises_from_a_batch() -> None:
    with pytest.raises(ValueError, match="refuses this Doc"):
        list(refusing().pipe([TEXT, TOO_LONG]))


@pytest.mark.parametrize("batch_size", [1, 2, 10])
def test_component_predict_only_the_bad_docs_are_lost(batch_size: int) -> None:
    nlp, errors = refusing(), list[str]()
    nlp.set_error_handler(swallow(errors))
    texts = [TOO_LONG, TEXT, TOO_LONG, EMPTY, NESTED]
    docs = list(nlp.pipe(texts, batch_size=batch_size))
    assert [doc.text for doc in docs] == [TEXT, EMPTY, NESTED]
    assert len(errors) == 2


def test_component_predict_docs_beside_a_bad_one_are_annotated() -> None:
    nlp = refusing()
    nlp.set_error_handler(swallow([]))
    [doc] = nlp.pipe([TOO_LONG, TEXT])
    assert entities(doc) == GOLD[TEXT]


def test_component_predict_error_handler_of_the_pipe_alone() -> None:
    nlp, errors = refusing(), list[str]()
    pipe_of(nlp).set_error_handler(swallow(errors))
    assert [doc.text for doc in nlp.pipe([TOO_LONG, TEXT])] == [TEXT]
    assert errors == [TOO_LONG]


def test_component_predict_single_bad_doc_comes_back_unannotated() -> None:
    nlp = refusing()
    nlp.set_error_handler(swallow([]))
    assert not nlp(TOO_LONG).has_annotation("ENT_IOB")


# Windows


def test_component_predict_text_that_does_not_fit_is_cut() -> None:
    nlp = trained(span_getter=DOC_SPANS)
    windows = pipe_of(nlp).make_windows([nlp(TOO_LONG)])
    assert len(windows) > 1
    assert " ".join(window.text for window in windows).split() == TOO_LONG.split()
    assert all(window.text.endswith(".") for window in windows)


def test_component_predict_tokens_that_do_not_fit_cost_nothing_else() -> None:
    urls = [f"https://example.org/{i}/{'ab9-x7.' * 24}" for i in range(20)]
    nlp = trained()
    doc = nlp("\n\n".join([TEXT, " ".join(urls), NESTED]))
    names = [name for name in entities(doc) if not name[0].startswith("http")]
    assert names == [*GOLD[TEXT], *entities(nlp(NESTED))]


def test_component_predict_long_text_is_read_in_windows() -> None:
    window = {
        "@span_getters": "spacy-padellm.strided_spans.v1",
        "window": 7,
        "stride": 7,
    }
    doc = trained(span_getter=window)(" ".join([TEXT] * 12))
    assert entities(doc) == GOLD[TEXT] * 12


# Settings


def test_component_predict_threshold_is_read_at_predict_time() -> None:
    nlp = trained()
    pipe_of(nlp).cfg["threshold"] = 1.0
    doc = nlp(TEXT)
    assert (doc.ents, len(doc.spans["padellm"])) == ((), 0)


def test_component_predict_cfg_can_be_replaced() -> None:
    nlp = trained()
    pipe = pipe_of(nlp)
    pipe.cfg = {**pipe.cfg, "threshold": 1.0}
    assert nlp(TEXT).ents == ()


def test_component_predict_threshold_of_the_config() -> None:
    assert trained(threshold=1.0)(TEXT).ents == ()


def test_component_predict_spans_key_of_the_config() -> None:
    assert len(trained(spans_key="mine")(TEXT).spans["mine"]) == 3


@pytest.mark.parametrize(
    ("existing", "labels"),
    [("overwrite", ["PER", "PER", "LOC"]), ("keep", ["OLD", "PER", "LOC"])],
)
def test_component_predict_existing_entities(existing: str, labels: list[str]) -> None:
    nlp = trained(existing=existing)
    doc = nlp.make_doc(TEXT)
    doc.set_ents([Span(doc, 1, 2, "OLD")])
    nlp.get_pipe(NAME)(doc)
    assert [ent.label_ for ent in doc.ents] == labels


def test_component_predict_existing_entities_of_a_ruler_are_kept() -> None:
    nlp = trained(existing="keep")
    ruler = nlp.add_pipe("entity_ruler", first=True)
    ruler.add_patterns([{"label": "VERB", "pattern": "met"}])
    assert ("met", "VERB") in entities(nlp(TEXT))


@pytest.mark.parametrize(
    "value", [1.5, -1, float("nan"), "0.5", True, [0.5], {"PER": 2.0}, {"PER": "x"}]
)
def test_component_predict_threshold_that_is_no_probability_is_reported(
    value: Any,
) -> None:
    with pytest.raises(ValueError, match="The threshold of component 'padellm_ner' is"):
        check_cfg(NAME, {**CFG, "threshold": value})


@pytest.mark.parametrize("value", [1.5, "0.5", {"PER": 2.0}])
def test_component_predict_bad_threshold_of_the_config_is_reported(value: Any) -> None:
    with pytest.raises(ValueError, match="The threshold of component"):
        make_nlp(threshold=value)


@pytest.mark.parametrize("value", [0, 1, 0.5, {}, {"PER": 1}, None])
def test_component_predict_threshold_in_range_is_taken(value: Any) -> None:
    assert pipe_of(make_nlp(threshold=value)).cfg["threshold"] == value


@pytest.mark.parametrize("setting", ["dedup", "alignment_mode", "existing"])
def test_component_predict_unknown_setting_is_reported(setting: str) -> None:
    message = f"Unknown value 'maybe' of '{setting}'.*Choose one of: "
    with pytest.raises(ValueError, match=message):
        check_cfg(NAME, {**CFG, setting: "maybe"})


@pytest.mark.parametrize("setting", ["dedup", "alignment_mode", "existing"])
def test_component_predict_unknown_setting_of_the_config_is_reported(
    setting: str,
) -> None:
    with pytest.raises(ValueError, match=f"Unknown value 'maybe' of '{setting}'"):
        make_nlp(**{setting: "maybe"})


def test_component_predict_alignment_mode_of_the_config() -> None:
    def cut(doc: Doc) -> Doc:
        """One token, so that every mention cuts it."""
        return Doc(doc.vocab, words=[doc.text], spaces=[False])

    expanding, strict = trained(), trained(alignment_mode="strict")
    doc = cut(expanding.make_doc(TEXT))
    assert len(expanding.get_pipe(NAME)(doc).spans["padellm"]) == 2  # PER, LOC
    strict_doc = strict.get_pipe(NAME)(cut(strict.make_doc(TEXT)))
    group = strict_doc.spans["padellm"]
    assert (len(group), len(group.attrs["dropped"])) == (0, 3)


def test_component_predict_frozen_pipe_is_skipped(nlp: Language) -> None:
    with nlp.select_pipes(disable=[NAME]):
        assert not nlp(TEXT).has_annotation("ENT_IOB")


# Scores


def test_component_predict_evaluate_gives_the_default_scores() -> None:
    nlp = trained()
    weights = Language.get_factory_meta(NAME).default_score_weights
    assert weights.keys() <= nlp.evaluate(gold_examples(nlp)).keys()


def test_component_predict_evaluate_on_the_training_data() -> None:
    nlp = trained()
    assert nlp.evaluate(gold_examples(nlp))["strings_f"] == 1


def test_component_predict_entity_score_decides_by_default() -> None:
    weights = Language.get_factory_meta(NAME).default_score_weights
    assert {name for name, weight in weights.items() if weight} == {"ents_f"}


def test_component_predict_assigns_entities() -> None:
    meta = Language.get_factory_meta(NAME)
    assert {"doc.ents", "token.ent_iob", "token.ent_type"} <= set(meta.assigns)


def test_component_predict_pipes_are_analysed_without_problems(nlp: Language) -> None:
    assert nlp.analyze_pipes()["problems"] == {NAME: []}


# Chinese


def test_component_predict_chinese_characters() -> None:
    torch.manual_seed(0)
    gold = {
        "王小明去了北京": [("王小明", "PER"), ("北京", "LOC")],
        "李四在上海": [("李四", "PER"), ("上海", "LOC")],
    }
    nlp = spacy.blank("zh")
    prompt = {"@misc": "spacy-padellm.Prompt.v1", "preset": "paper-zh"}
    labels = {"PER": "人名", "LOC": "地名"}
    config = {"model": SMALL, "prompt": prompt, "labels": labels}
    nlp.add_pipe(NAME, config=config)
    examples = gold_examples(nlp, gold)
    nlp.initialize(lambda: examples)
    train(nlp, steps=120, examples=examples)
    docs = [nlp(text) for text in gold]
    assert [entities(doc) for doc in docs] == list(gold.values())


def test_component_predict_untrained_small_model_is_reported() -> None:
    nlp = make_nlp(labels={"PER": "person"})
    with pytest.raises(ValueError, match="training creates it from scratch"):
        nlp(TEXT)


def test_component_predict_of_one_doc_reports_limits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = spacy.blank("en")
    decoder = {"@misc": "spacy-padellm.TreeDecoder.v1", "max_mention_tokens": 1}
    pipeline.add_pipe("padellm_ner", config={"decoder": decoder})
    pipeline("Paris , France .")
    assert "reached max_mention_tokens = 1" in caplog.text


def test_component_predict_gives_memory_back_before_texts_are_tried_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caches: list[weakref.ref[TreeKVCache]] = []
    alive: list[int] = []
    read = LanguageModel.packed_logits

    def failing(
        self: LanguageModel,
        packed: PackedBatch,
        logit_positions: list[int],
        cache: TreeKVCache,
        **kw: Any,
    ) -> Any:
        caches.append(weakref.ref(cache))
        alive.append(len({id(get_cache()) for get_cache in caches} - {id(None)}))
        if packed.used[0] > 1:
            raise torch.OutOfMemoryError
        return read(self, packed, logit_positions, cache, **kw)

    nlp = trained()
    expected = found(nlp.pipe(GOLD))
    monkeypatch.setattr(LanguageModel, "packed_logits", failing)
    assert found(nlp.pipe(GOLD)) == expected
    assert max(alive) == 1

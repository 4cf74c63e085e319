from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import spacy
import torch
from helpers import (
    GOLD,
    LABELS,
    NESTED,
    TAGGING,
    TEXT,
    entities,
    found,
    initialised,
    pipe_of,
    train,
)
from hypothesis import given, strategies as st
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.limits import Cuts
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.decoding.tree.tag_scores import share_scores
from spacy_padellm.decoding.tree.tags import _first_tokens, read_text_tags
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.pipeline.pipe import PaDeLLMNER


def log_chances(rows: list[list[float]]) -> npt.NDArray[np.float64]:
    return np.log(np.array(rows, dtype=np.float64))


def test_tag_drafts_are_the_runs_of_a_label() -> None:
    pieces = [" Anna", " Smith", " saw", " Paris", " Bob", "."]
    out, per, loc = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]
    chances = log_chances([per, [0.4, 0.5, 0.1], out, loc, per, out])
    tagging = read_text_tags(range(10, 16), pieces, chances, ["PER", "LOC"])
    found = tagging.mentions
    assert {k: [t.ids for t in v] for k, v in found.items()} == {
        "PER": [[10, 11], [14]],
        "LOC": [[13]],
    }
    assert [t.score for t in found["PER"]] == pytest.approx([0.5, 0.8])
    assert tagging.sure == pytest.approx({"PER": 0.5, "LOC": 0.7})


def test_tag_drafts_tokens_of_a_word_decide_together() -> None:
    chances = log_chances([[0.6, 0.4], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]])
    pieces = [" Leic", "ester", " ", "-"]
    found = read_text_tags([1, 2, 3, 4], pieces, chances, ["PER"]).mentions
    assert [t.ids for t in found["PER"]] == [[1, 2], [4]]
    inside = (0.4 * 0.9) ** 0.5
    assert found["PER"][0].score == pytest.approx(inside / (inside + 0.06**0.5))


def test_tag_drafts_take_each_chinese_character_for_a_word() -> None:
    chances = log_chances([[0.4, 0.6], [0.9, 0.1]])
    found = read_text_tags([1, 2], ["京", "人"], chances, ["LOC"]).mentions
    assert [t.ids for t in found["LOC"]] == [[1]]


def test_tag_drafts_part_neighbours_where_a_mention_begins() -> None:
    # outside, PER, LOC, PER begins
    begin, inside = [0.05, 0.02, 0.03, 0.9], [0.1, 0.6, 0.1, 0.2]
    chances = log_chances([inside, inside, begin, [0.1, 0.1, 0.8, 0.0001], inside])
    pieces = ["张", "三", "李", "京", "王"]
    tagging = read_text_tags(range(5), pieces, chances, ["PER", "LOC"], begins=[1])
    assert {k: [t.ids for t in v] for k, v in tagging.mentions.items()} == {
        "PER": [[0, 1], [2], [4]],
        "LOC": [[3]],
    }
    # each is as sure as its tag and, beside one of its label, as where it is parted
    scores = [t.score for t in tagging.mentions["PER"]]
    assert scores == pytest.approx([0.6, 0.9, 0.8])
    assert tagging.sure["PER"] == pytest.approx(0.6)


def test_tag_drafts_part_no_neighbours_where_a_beginning_is_not_nearly_sure() -> None:
    chances = log_chances([[0.1, 0.6, 0.2], [0.1, 0.1, 0.7]])
    found = read_text_tags([1, 2], [" Paul", " Young"], chances, ["PER"], begins=[1])
    assert [t.ids for t in found.mentions["PER"]] == [[1, 2]]


def test_tag_drafts_join_neighbours_without_tags_of_beginnings() -> None:
    chances = log_chances([[0.1, 0.9], [0.2, 0.8]])
    found = read_text_tags([1, 2], ["张", "李"], chances, ["PER"]).mentions
    assert [t.ids for t in found["PER"]] == [[1, 2]]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([" Berlin", " 🎉", "", "", " with"], [" Berlin", " 🎉", " with"]),
        ([" Berlin", "🎉", "", "", "!"], [" Berlin", "🎉", "!"]),
        (["Zo", "ë", "", " came"], ["Zoë", " came"]),
        (["❤", "\ufe0f", " York"], ["❤\ufe0f", " York"]),
        # parts of a character that is cut
        (["Zo", "\U000f0001", "\U000f0002", "."], ["Zo\U000f0001\U000f0002", "."]),
        (["นาย", "สมชาย", "ไป"], ["นาย", "สมชาย", "ไป"]),
        (["กร", "ุง", "เทพ"], ["กรุง", "เทพ"]),
        (["ﾄﾖﾀ", "ﾊ", "ﾄｳｷｮｳ"], ["ﾄﾖﾀ", "ﾊ", "ﾄｳｷｮｳ"]),
        ([" द", "ि", "ल्", "ली", " में"], [" दिल्ली", " में"]),
        (["e", "\u0301", "t", " a"], ["e\u0301t", " a"]),
        (["王", "小", "明"], ["王", "小", "明"]),
        (["don", "'", "t"], ["don", "'", "t"]),
        ([" John", " F", ".", " Kennedy"], [" John", " F.", " Kennedy"]),
        (["J", ".", "P", ".", " Morgan"], ["J.", "P.", " Morgan"]),
        ([" Inc", ".", " in"], [" Inc", ".", " in"]),
        ([" i", ".", "e", "."], [" i", ".", "e", "."]),
        ([" Bonn", "²", "."], [" Bonn", "²", "."]),
    ],
)
def test_tag_drafts_words_are_those_of_the_script(
    pieces: list[str], words: list[str]
) -> None:
    starts = _first_tokens(pieces)
    ends = [*starts[1:], len(pieces)]
    found = ["".join(pieces[i:j]) for i, j in zip(starts, ends, strict=True)]
    assert found == words


@given(
    st.lists(
        st.tuples(st.sampled_from([" a", "b", " ", "-", "京", "7"]), st.integers(0, 3)),
        min_size=1,
        max_size=20,
    )
)
def test_tag_drafts_hold_tokens_of_the_text_once(pairs: list[tuple[str, int]]) -> None:
    pieces = [piece for piece, _ in pairs]
    rows = [[0.1 + (tag == n) for n in range(4)] for _, tag in pairs]
    found = read_text_tags(range(len(pairs)), pieces, log_chances(rows), "ABC").mentions
    ids = sorted(
        i
        for label_mentions in found.values()
        for tagged in label_mentions
        for i in tagged.ids
    )
    assert len(ids) == len(set(ids))
    for label_mentions in found.values():
        for tagged in label_mentions:
            assert tagged.ids == list(range(tagged.ids[0], tagged.ids[-1] + 1))
            assert 0 < tagged.score <= 1


def test_tag_drafts_scores_are_shared() -> None:
    generated = [
        Mention("PER", 1, "Bob", 0.8),
        Mention("PER", 2, "Bob", 0.6),
        Mention("LOC", 1, "Rome", 0.4),
    ]
    tagged = {"PER": [("Anna", 0.5), ("Bob", 0.9)], "LOC": []}
    shared = share_scores(generated, tagged, weight=0.25, max_mentions=32, cuts=Cuts())
    assert shared == [
        Mention("PER", 1, "Bob", 0.75 * 0.8 + 0.25 * 0.9),
        Mention("PER", 2, "Bob", 0.75 * 0.6),
        Mention("PER", 3, "Anna", 0.25 * 0.5, by_tags=True),
        Mention("LOC", 1, "Rome", 0.75 * 0.4),
    ]


def test_tag_drafts_are_no_more_than_the_limit() -> None:
    generated, cuts = [Mention("PER", 1, "Bob", 0.8)], Cuts()
    tagged = {"PER": [(name, 0.9) for name in ("Anna", "Bob", "Eve")]}
    shared = share_scores(generated, tagged, weight=0.5, max_mentions=2, cuts=cuts)
    assert [mention.text for mention in shared] == ["Bob", "Anna"]
    assert cuts.counts == 1


def test_tag_drafts_cut_count_is_told_once() -> None:
    cuts = Cuts()
    cuts.note_count(3, 2)  # when it was generated
    generated = [Mention("PER", n, name, 0.8) for n, name in enumerate("AB", start=1)]
    share_scores(
        generated, {"PER": [("C", 0.9)]}, weight=0.5, max_mentions=2, cuts=cuts
    )
    assert cuts.counts == 1


@pytest.fixture(scope="module")
def tagging() -> Language:
    """A pipeline whose model was overfitted to the gold texts, tags included."""
    torch.manual_seed(0)
    nlp = initialised(**TAGGING)
    train(nlp, steps=120)
    return nlp


def passes(
    nlp: Language, monkeypatch: pytest.MonkeyPatch, texts: Iterable[str] = GOLD
) -> int:
    """How many passes texts take, one at a time."""
    count = 0
    read = LanguageModel.packed_logits

    def counting(self: LanguageModel, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return read(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageModel, "packed_logits", counting)
        for text in texts:
            nlp(text)
    return count


def test_tag_drafts_save_passes_and_change_nothing(
    tagging: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = pipe_of(tagging).handle.lm()
    tags = lm.tags
    assert (
        set(tags.inside)
        == set(tags.begins)
        == set(pipe_of(tagging).label_data.values())
    )
    expected = found(tagging.pipe(GOLD))
    with_tags = passes(tagging, monkeypatch)
    # the counts, then all mentions at once
    assert passes(tagging, monkeypatch, [TEXT]) == 2
    lm.tags = replace(tags, inside={})
    try:
        assert found(tagging.pipe(GOLD)) == expected
        assert with_tags < passes(tagging, monkeypatch)
        assert passes(tagging, monkeypatch, [TEXT]) == 3
    finally:
        lm.tags = tags


@pytest.fixture
def flat(tagging: Language) -> Iterator[PaDeLLMNER]:
    """The pipe, as if its mentions never overlapped; tags over 0.5 are sure."""
    pipe = pipe_of(tagging)
    decoder, lm = pipe.decoder, pipe.handle.lm()
    assert isinstance(decoder, TreeDecoder)
    assert lm.tags.overlaps
    pipe.decoder = replace(decoder, sure_tag_probability=0.5)
    labels = pipe.label_data
    lm.tags = replace(lm.tags, overlaps=False)
    yield pipe
    lm.tags = replace(lm.tags, overlaps=True)
    pipe.decoder = decoder
    pipe.set_labels(labels)


FLAT = [text for text in GOLD if text != NESTED]


def test_tag_drafts_that_are_sure_need_no_prompt(
    tagging: Language, flat: PaDeLLMNER, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert passes(tagging, monkeypatch, FLAT) == len(FLAT)
    docs = list(tagging.pipe(FLAT))
    assert found(docs) == [GOLD[text] for text in FLAT]
    scores = [score for doc in docs for score in scored(doc).values()]
    assert scores
    assert all(0.5 < score <= 1 for score in scores)


def test_tag_drafts_that_are_sure_are_told_from_generated_mentions(
    flat: PaDeLLMNER,
) -> None:
    lm = flat.handle.lm()
    assert flat.prompt is not None
    prompt = lm.tokens_of(flat.prompt)
    for decoder, by_tags in (
        (flat.decoder, {True}),
        (replace(flat.decoder, sure_tag_probability=1.0), {False}),  # type: ignore[type-var]
    ):
        (mentions,) = decode(decoder, lm, prompt, [TEXT], flat.label_data)
        assert {mention.by_tags for mention in mentions} == by_tags


@pytest.mark.parametrize(
    "setting",
    [{"sure_tag_probability": 1.0}, {"tag_weight": 0.0}, {"max_mentions": 1}],
    ids=str,
)
def test_tag_drafts_are_prompted_for_as_settings_say(
    tagging: Language,
    flat: PaDeLLMNER,
    setting: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = next(text for text in FLAT if most_of_a_label(text) > 1)
    assert passes(tagging, monkeypatch, [text]) == 1
    assert isinstance(flat.decoder, TreeDecoder)
    flat.decoder = replace(flat.decoder, **setting)
    assert passes(tagging, monkeypatch, [text]) > 1


def most_of_a_label(text: str) -> int:
    return max(Counter(label for _, label in GOLD[text]).values(), default=0)


def test_tag_drafts_with_overlaps_are_prompted_for(
    tagging: Language, flat: PaDeLLMNER, monkeypatch: pytest.MonkeyPatch
) -> None:
    # tags of the outer mentions would hide the inner ones
    lm = flat.handle.lm()
    lm.tags = replace(lm.tags, overlaps=True)
    assert passes(tagging, monkeypatch, [TEXT]) == 2


def test_tag_drafts_of_some_labels_are_those_of_all(
    tagging: Language, flat: PaDeLLMNER, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = [scored(doc) for doc in tagging.pipe(FLAT)]
    for label in flat.labels:
        flat.set_labels([label])
        for text, of_all in zip(FLAT, everything, strict=True):
            assert scored(tagging(text)) == pytest.approx(
                {key: score for key, score in of_all.items() if key[2] == label}
            )
        assert passes(tagging, monkeypatch, FLAT) == len(FLAT)


def test_tag_drafts_of_labels_never_taught_together_are_only_sure_of_absence(
    tagging: Language, flat: PaDeLLMNER, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = flat.label_data
    label, other = sorted({label for _, label in GOLD[TEXT]})
    alone = [[name] for name in names.values()]
    lm = flat.handle.lm()
    monkeypatch.setattr(lm, "tags", replace(lm.tags, sets=alone))
    nothing = next(text for text in FLAT if not GOLD[text])
    flat.set_labels([label, other])
    assert passes(tagging, monkeypatch, [nothing]) == 1
    assert passes(tagging, monkeypatch, [TEXT]) > 1


def test_tag_drafts_sure_labels_stand_beside_prompted_labels(
    tagging: Language, flat: PaDeLLMNER, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = flat.handle.lm()
    label = min({label for _, label in GOLD[TEXT]})
    name = flat.label_data[label]
    tags = lm.tags
    # as if the model had not been taught the tag of this label
    inside = {n: tag for n, tag in tags.inside.items() if n != name}
    monkeypatch.setattr(lm, "tags", replace(tags, inside=inside))
    assert passes(tagging, monkeypatch, [TEXT]) > 1
    assert entities(tagging(TEXT)) == GOLD[TEXT]
    order = [mention.label for mention in flat_mentions(flat, TEXT)]
    assert order == sorted(order, key=flat.labels.index)


def flat_mentions(pipe: PaDeLLMNER, text: str) -> list[Mention]:
    lm, prompt = pipe.handle.lm(), pipe.prompt
    assert prompt is not None
    tokens = lm.tokens_of(prompt)
    return decode(pipe.decoder, lm, tokens, [text], pipe.label_data)[0]


def test_tag_drafts_are_no_surer_than_their_tag() -> None:
    chances = log_chances([[0.15, 0.2, 0.13, 0.13, 0.13, 0.13, 0.13]])
    tagging = read_text_tags([1], [" Anna"], chances, "ABCDEF")
    assert tagging.sure["A"] == pytest.approx(0.2)
    assert tagging.sure["B"] == pytest.approx(0.87)


def test_tag_drafts_are_saved_with_the_model(tagging: Language, tmp_path: Path) -> None:
    tagging.to_disk(tmp_path / "nlp")
    nlp = spacy.load(tmp_path / "nlp")
    nlp("load")
    loaded, lm = pipe_of(nlp).handle.lm(), pipe_of(tagging).handle.lm()
    assert loaded.tags == lm.tags
    assert loaded.tags.sets == [list(LABELS.values())]


def test_tag_drafts_find_mentions_that_are_only_tagged(tagging: Language) -> None:
    pipe = pipe_of(tagging)
    decoder = pipe.decoder
    assert isinstance(decoder, TreeDecoder)
    # no count is ever reached with such a probability: nothing is generated
    strict = replace(decoder, min_count_probability=1.0)
    pipe.decoder = replace(strict, tag_weight=0.0)
    try:
        assert not any(found(tagging.pipe(GOLD)))
        pipe.decoder = replace(strict, tag_weight=1.0)
        (doc,) = tagging.pipe([TEXT])
        assert entities(doc) == GOLD[TEXT]
        assert all(ent._.padellm_score > 0.5 for ent in doc.ents)
    finally:
        pipe.decoder = decoder


def test_tag_drafts_longer_than_a_mention_may_be_are_not_found(
    tagging: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = pipe_of(tagging)
    decoder = replace(pipe.decoder, tag_weight=1.0)
    found = []
    for tokens in (64, 1):
        shorter = replace(decoder, max_mention_tokens=tokens)
        monkeypatch.setattr(pipe, "decoder", shorter)
        found.append("Anna Smith" in dict(entities(tagging(TEXT))))
    assert found == [True, False]


def test_tag_drafts_other_labels_than_those_of_training_have_none(
    tagging: Language,
) -> None:
    pipe = pipe_of(tagging)
    names = pipe.label_data
    lm = pipe.handle.lm()
    tags, text = lm.tags, next(text for text in GOLD if GOLD[text])
    (doc,) = tagging.pipe([text])
    label = doc.ents[0].label_
    try:
        # as if the model had not been taught the tag of this label
        inside = {n: tag for n, tag in tags.inside.items() if n != names[label]}
        lm.tags = replace(tags, inside=inside)
        (other,) = tagging.pipe([text])
        assert entities(other) == entities(doc)
        # its score is that of its generation alone
        pipe.decoder = replace(pipe.decoder, tag_weight=0.0)
        (plain,) = tagging.pipe([text])
        assert scored(other)[place(doc)] == pytest.approx(scored(plain)[place(doc)])
        assert scored(other)[place(doc)] != scored(doc)[place(doc)]
    finally:
        lm.tags = tags
        pipe.decoder = replace(pipe.decoder, tag_weight=0.5)


def place(doc: Doc) -> tuple[int, int, str]:
    return doc.ents[0].start, doc.ents[0].end, doc.ents[0].label_


def test_tag_drafts_do_not_depend_on_the_batch(tagging: Language) -> None:
    texts = [*GOLD, *reversed(GOLD)] * 3
    together = [scored(doc) for doc in tagging.pipe(texts, batch_size=256)]
    for text, mentions in zip(texts, together, strict=True):
        alone = scored(tagging(text))
        assert alone.keys() == mentions.keys()
        assert list(alone.values()) == pytest.approx(list(mentions.values()), abs=1e-5)


def scored(doc: Doc) -> dict[tuple[int, int, str], float]:
    group = doc.spans["padellm"]
    places = [(span.start, span.end, span.label_) for span in group]
    return dict(zip(places, group.attrs["scores"], strict=True))


@pytest.mark.parametrize("value", [0.4, 1.1])
def test_tag_drafts_sure_probability_out_of_range_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match=r"between 0\.5 and 1"):
        TreeDecoder(sure_tag_probability=value)


def test_tag_drafts_weight_over_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="tags are used for drafts only"):
        TreeDecoder(tag_weight=1.5)

"""Kinds of errors: each definition, and that every mention has exactly one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from spacy_padellm.analysis.analyze.tally import Analysis
from spacy_padellm.analysis.kinds import (
    GOLD_KINDS,
    PREDICTED_KINDS,
    GoldMention,
    Judgement,
    WindowCase,
    judge,
    own_part,
)
from spacy_padellm.mention.mention import Mention

TEXT = "The Bank of Paris hired Bob Ray and Bob in Paris ."


def make_case(
    text: str,
    golds: Sequence[tuple[str, str]],
    found: Sequence[tuple[str, str]],
) -> WindowCase:
    """Make a window from gold and generated mentions, given as strings and labels.

    A gold string stands where it first occurs; generated mentions of a label have the
    indexes 1, 2 ... in the order given.
    """
    indexes: Counter[str] = Counter()
    mentions = []
    for string, label in found:
        indexes[label] += 1
        mentions.append(Mention(label, indexes[label], string, 0.5))
    places = [(text.index(string), string, label) for string, label in golds]
    return WindowCase(
        text=text,
        tokens=[match.span() for match in re.finditer(r"\S+", text)],
        golds=[
            GoldMention(at, at + len(string), label) for at, string, label in places
        ],
        mentions=mentions,
    )


def kinds_of(judgement: Judgement) -> tuple[list[str], list[str]]:
    found = [judged.kind for judged in judgement.mentions]
    return found, [judged.kind for judged in judgement.golds]


@pytest.mark.parametrize(
    ("golds", "found", "expected"),
    [
        pytest.param(
            [("Bob Ray", "PER"), ("Bank of Paris", "ORG")],
            [("Bob Ray", "PER"), ("Bank of Paris", "ORG")],
            (["correct", "correct"], ["correct", "correct"]),
            id="correct",
        ),
        pytest.param(
            [("Bank", "ORG"), ("Ray", "ORG")],
            [("Ray", "ORG"), ("Bank", "ORG")],
            (["index", "index"], ["index", "index"]),
            id="swapped indexes",
        ),
        pytest.param(
            [("Bank", "ORG"), ("Ray", "ORG")],
            [("Ray", "ORG")],
            (["index"], ["missed", "index"]),
            id="an index too low after a missed mention",
        ),
        pytest.param(
            [("Ray", "PER")],
            [("Ray", "PER"), ("Ray", "PER")],
            (["correct", "repeat"], ["correct"]),
            id="a string more often than the text holds it",
        ),
        pytest.param(
            [("Ray", "PER")],
            [("Ray", "PER"), ("RAY", "PER")],
            (["correct", "repeat"], ["correct"]),
            id="the same characters in other case",
        ),
        pytest.param(
            [("Ray", "PER")],
            [("Ray", "PER"), ("Ray", "ORG")],
            (["correct", "label"], ["correct"]),
            id="a found mention under a second label",
        ),
        pytest.param(
            [("Ray", "PER")],
            [("Ray", "ORG")],
            (["label"], ["label"]),
            id="another label",
        ),
        pytest.param(
            [("Bank of Paris", "ORG"), ("Bank", "LOC")],
            [("Bank", "ORG")],
            (["label"], ["label", "boundary"]),
            id="another label before other edges",
        ),
        pytest.param(
            [("Bank of Paris", "ORG")],
            [("Bank", "ORG")],
            (["boundary"], ["boundary"]),
            id="other edges",
        ),
        pytest.param(
            [("Bank of Paris", "ORG")],
            [("Bank", "LOC")],
            (["spurious"], ["missed"]),
            id="other edges and another label",
        ),
        pytest.param([], [("hired", "PER")], (["spurious"], []), id="spurious"),
        pytest.param([], [("Bobby", "PER")], (["invented"], []), id="not in the text"),
        pytest.param([], [(" ", "PER")], (["invented"], []), id="blank"),
        pytest.param([("Ray", "PER")], [], ([], ["missed"]), id="missed"),
        pytest.param(
            [("Ray", "PER"), ("Ray", "PER")], [], ([], ["missed"]), id="gold twice"
        ),
    ],
)
def test_analysis_kinds_of(
    golds: list[tuple[str, str]],
    found: list[tuple[str, str]],
    expected: tuple[list[str], list[str]],
) -> None:
    found_kinds, gold_kinds = kinds_of(judge(make_case(TEXT, golds, found)))
    assert (found_kinds, sorted(gold_kinds)) == (expected[0], sorted(expected[1]))


def test_analysis_kinds_lower_index_is_no_repeat_whatever_the_order() -> None:
    case = make_case(TEXT, [("Ray", "PER")], [("Ray", "PER"), ("RAY", "PER")])
    turned = WindowCase(case.text, case.tokens, case.golds, case.mentions[::-1])
    assert kinds_of(judge(turned))[0] == ["repeat", "correct"]


@pytest.mark.parametrize(("by_tags", "kind"), [(True, "correct"), (False, "index")])
def test_analysis_kinds_mention_of_the_tags_alone_has_no_wrong_index(
    by_tags: bool, kind: str
) -> None:
    # the mention of index 1 was wrong, and is below the threshold
    mention = Mention("PER", 2, "Bob Ray", 0.5, by_tags=by_tags)
    case = make_case(TEXT, [("Bob Ray", "PER")], [])
    assert kinds_of(judge(replace(case, mentions=[mention]))) == ([kind], [kind])


def test_analysis_kinds_boundary_speaks_of_the_nearest_gold_mention() -> None:
    golds = [("The Bank", "ORG"), ("of Paris hired", "ORG")]
    (found,) = judge(make_case(TEXT, golds, [("Bank of Paris", "ORG")])).mentions
    assert found.gold is not None
    assert TEXT[found.gold.start : found.gold.end] == "of Paris hired"


LABELS = ("A", "B")


@st.composite
def windows(draw: st.DrawFn) -> WindowCase:
    words = draw(st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1))
    text = " ".join(words)
    tokens = [match.span() for match in re.finditer(r"\S+", text)]
    place = st.tuples(st.sampled_from(tokens), st.sampled_from(tokens)).map(sorted)
    label = st.sampled_from(LABELS)
    golds = draw(st.lists(st.tuples(place, label), max_size=6))
    inside = place.map(lambda pair: text[pair[0][0] : pair[1][1]])
    string = st.one_of(
        inside,
        inside,
        inside.map(str.upper),
        st.text("ab ", max_size=4),
    )
    found = draw(st.lists(st.tuples(string, label), max_size=8))
    case = make_case(text, [], found)
    mentions = [
        replace(mention, by_tags=draw(st.booleans()))
        for mention in draw(st.permutations(case.mentions))
    ]
    gold_mentions = [GoldMention(p[0][0], p[1][1], label) for p, label in golds]
    return WindowCase(text, tokens, gold_mentions, mentions)


@settings(deadline=None, max_examples=400)
@given(windows())
def test_analysis_kinds_part_the_mentions(case: WindowCase) -> None:
    judgement = judge(case)
    assert [m.aligned.mention for m in judgement.mentions] == list(case.mentions)
    assert [g.gold for g in judgement.golds] == sorted(set(case.golds))
    assert {m.kind for m in judgement.mentions} <= PREDICTED_KINDS.keys()
    assert {g.kind for g in judgement.golds} <= GOLD_KINDS.keys()


@settings(deadline=None, max_examples=400)
@given(windows())
def test_analysis_kinds_follow_their_definitions(case: WindowCase) -> None:
    judgement = judge(case)
    golds = set(case.golds)
    squeezed = "".join(case.text.split())
    first: dict[tuple[str, int, int], int] = {}
    for judged in judgement.mentions:
        found = judged.aligned
        if found.start is not None and found.end is not None:
            key = (found.mention.label, found.start, found.end)
            first[key] = min(first.get(key, 99), found.mention.index)
    for judged in judgement.mentions:
        mention, start, end = (
            judged.aligned.mention,
            judged.aligned.start,
            judged.aligned.end,
        )
        if start is None or end is None:
            string = "".join(mention.text.split()).casefold()
            invented = not string or string not in squeezed
            # a string with no free occurrence in "a ab" may match "aab" without spaces
            assert judged.kind in ("invented", "repeat")
            assert judged.kind == "invented" or not invented
            continue
        same = {gold.label for gold in golds if (gold.start, gold.end) == (start, end)}
        mine = sorted(gold for gold in golds if gold.label == mention.label)
        overlaps = any(gold.start < end and start < gold.end for gold in mine)
        if first[mention.label, start, end] < mention.index:
            expected = "repeat"
        elif mention.label in same:
            index = mine.index(GoldMention(start, end, mention.label)) + 1
            right = mention.by_tags or index == mention.index
            expected = "correct" if right else "index"
        elif same:
            expected = "label"
        else:
            expected = "boundary" if overlaps else "spurious"
        assert judged.kind == expected


@settings(deadline=None, max_examples=400)
@given(windows())
def test_analysis_kinds_of_gold_mentions_follow_their_definitions(
    case: WindowCase,
) -> None:
    judgement = judge(case)
    placed = [
        (m.kind, GoldMention(m.aligned.start, m.aligned.end, m.aligned.mention.label))
        for m in judgement.mentions
        if m.aligned.start is not None and m.aligned.end is not None
    ]
    right = {found: kind for kind, found in placed if kind in ("correct", "index")}
    wrong = [
        found for kind, found in placed if kind in ("label", "boundary", "spurious")
    ]
    for judged in judgement.golds:
        gold = judged.gold
        if gold in right:
            assert judged.kind == right[gold]
        elif any((w.start, w.end) == (gold.start, gold.end) for w in wrong):
            assert judged.kind == "label"
        elif any(
            w.label == gold.label and w.start < gold.end and gold.start < w.end
            for w in wrong
        ):
            assert judged.kind == "boundary"
        else:
            assert judged.kind == "missed"


@settings(deadline=None, max_examples=200)
@given(st.lists(windows(), max_size=4))
def test_analysis_tally_sums_are_the_totals(cases: list[WindowCase]) -> None:
    analysis = Analysis.of(LABELS)
    for case in cases:
        analysis.add_window(case, judge(case), list(analysis.labels))
    total = analysis.total()
    mentions = sum(len(case.mentions) for case in cases)
    golds = sum(len(set(case.golds)) for case in cases)
    assert total.predicted.total() == mentions
    assert total.golds.total() == golds
    assert total.counts.total() == sum(total.outcomes().values())
    assert total.counts.total() == len(cases) * len(LABELS)
    assert sum(gold * n for (gold, _), n in total.counts.items()) == golds
    assert sum(found * n for (_, found), n in total.counts.items()) == mentions
    for kind in ("correct", "index"):
        assert total.predicted[kind] == total.golds[kind]
    wrong = mentions - total.predicted["correct"] + total.golds["missed"]
    assert total.errors.total() == wrong
    right = total.golds["correct"] + total.golds["index"]
    agreed = sum(analysis.confusions[label, label] for label in LABELS)
    assert (agreed, analysis.confusions.total()) == (
        right,
        right + total.predicted["label"],
    )


def test_analysis_without_empty_keeps_labels_of_gold_or_predictions() -> None:
    analysis = Analysis.of(["PER", "LOC", "ORG", "MISC"])
    labels = list(analysis.labels)
    for golds, found in ([("Bob", "PER")], []), ([], [("Paris", "LOC")]):
        case = make_case(TEXT, golds, found)
        analysis.add_window(case, judge(case), labels)
    analysis.add_scored("ORG", 0.5, right=False)
    shown = analysis.without_empty()
    assert list(shown.labels) == ["PER", "LOC", "ORG"]
    assert shown.total().golds == analysis.total().golds
    assert shown.windows == analysis.windows


def test_analysis_without_empty_keeps_the_label_of_a_cut_mention() -> None:
    case = make_case("Bob in Paris", [], [("Paris", "LOC")])
    part = GoldMention(len("Bob in "), len(case.text), "PER")
    case = replace(case, golds=[part], elsewhere=frozenset({part}))
    analysis = Analysis.of(["PER", "LOC", "ORG"])
    analysis.add_window(case, judge(case), list(analysis.labels))
    assert list(analysis.without_empty().labels) == ["PER", "LOC"]


def test_analysis_own_part_of_a_window_leaves_out_what_another_one_counts() -> None:
    case = make_case(
        TEXT, [("Bank", "ORG"), ("Bob", "PER")], [("Bank", "ORG"), ("Bob", "PER")]
    )
    bank, bob = case.golds
    late = replace(case, start_range=(bob.start, len(TEXT)))
    # the window before cuts "Bank", so it counts here
    assert kinds_of(own_part(judge(late), late)) == (["correct"] * 2, ["correct"] * 2)
    late = replace(late, elsewhere=frozenset({bank}))
    assert kinds_of(own_part(judge(late), late)) == (["correct"], ["correct"])


def test_analysis_own_part_has_what_is_not_in_the_text() -> None:
    case = make_case(TEXT, [], [("Ghost", "ORG"), ("Bank", "ORG")])
    late = replace(case, start_range=(len(TEXT), len(TEXT)))
    assert kinds_of(own_part(judge(late), late)) == (["invented"], [])


def test_analysis_part_of_a_cut_mention_is_no_error_and_no_gold_mention() -> None:
    # the window ends within "Paris Hilton"
    found = [("Bank", "ORG"), ("Bob Ray", "PER"), ("Paris", "PER")]
    case = make_case("The Bank hired Bob Ray in Paris", found[:2], found)
    part = GoldMention(len(case.text) - len("Paris"), len(case.text), "PER")
    assert kinds_of(own_part(judge(case), case))[0][-1] == "spurious"
    case = replace(case, cut=frozenset({part}))
    assert kinds_of(own_part(judge(case), case)) == (["correct"] * 2, ["correct"] * 2)
    analysis = Analysis.of(["ORG", "PER"])
    analysis.add_window(case, judge(case), ["ORG", "PER"])
    assert set(analysis.total().counts) == {(1, 1), (2, 2)}


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        pytest.param([], ([], []), id="not generated"),
        pytest.param([("Paris", "LOC")], (["spurious"], []), id="other label"),
        pytest.param([("Paris", "PER")] * 2, (["repeat"], []), id="twice"),
        pytest.param([("in Paris", "PER")], (["spurious"], []), id="other start"),
    ],
)
def test_analysis_cut_mention_allows_its_part_alone(
    found: list[tuple[str, str]], kinds: tuple[list[str], list[str]]
) -> None:
    case = make_case("Bob in Paris", [], found)
    part = GoldMention(len("Bob in "), len(case.text), "PER")
    case = replace(case, cut=frozenset({part}))
    assert kinds_of(own_part(judge(case), case)) == kinds

"""De-duplication and the flat choice."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

from spacy_padellm.mention.dedup import choose_flat, deduplicate
from spacy_padellm.mention.mention import Mention, ScoredSpan


def mention(label: str, text: str, score: float, index: int = 1) -> Mention:
    return Mention(label=label, index=index, text=text, score=score)


def span(start: int, end: int, score: float, label: str = "PER") -> ScoredSpan:
    return ScoredSpan(start=start, end=end, label=label, score=score, status="exact")


# De-duplication


def test_mentions_on_keeps_the_label_with_the_highest_score() -> None:
    per, loc = mention("PER", "Washington", 0.4), mention("LOC", "Washington", 0.6)
    assert deduplicate([per, loc]) == [loc]


def test_mentions_reversed_keeps_the_label_with_the_lowest_score() -> None:
    per, loc = mention("PER", "Washington", 0.4), mention("LOC", "Washington", 0.6)
    assert deduplicate([loc, per], "reversed") == [per]


def test_mentions_off_keeps_all() -> None:
    both = [mention("PER", "Washington", 0.4), mention("LOC", "Washington", 0.6)]
    assert deduplicate(both, "off") == both


def test_mentions_repeats_of_the_label_that_keeps_the_string_all_stay() -> None:
    per = [mention("PER", "Li", 0.9, 1), mention("PER", "Li", 0.1, 2)]
    loc = mention("LOC", "Li", 0.5)
    assert deduplicate([per[0], loc, per[1]]) == per


def test_mentions_repeats_of_the_label_that_loses_the_string_all_go() -> None:
    per = [mention("PER", "Li", 0.4, 1), mention("PER", "Li", 0.3, 2)]
    loc = mention("LOC", "Li", 0.5)
    assert deduplicate([*per, loc]) == [loc]


def test_mentions_score_of_repeats_is_their_highest_if_it_comes_last() -> None:
    per = [mention("PER", "Li", 0.1, 1), mention("PER", "Li", 0.9, 2)]
    loc = mention("LOC", "Li", 0.5)
    assert deduplicate([*per, loc]) == per


def test_mentions_reversed_compares_the_highest_of_repeats_too() -> None:
    per = [mention("PER", "Li", 0.1, 1), mention("PER", "Li", 0.9, 2)]
    loc = mention("LOC", "Li", 0.5)
    assert deduplicate([*per, loc], "reversed") == [loc]


@pytest.mark.parametrize("mode", ["on", "reversed"])
def test_mentions_tie_goes_to_the_label_first_in_the_input(mode: str) -> None:
    per, loc = mention("PER", "Li", 0.5), mention("LOC", "Li", 0.5)
    assert deduplicate([per, loc], mode) == [per]
    assert deduplicate([loc, per], mode) == [loc]


def test_mentions_different_strings_do_not_compete() -> None:
    both = [mention("PER", "Li", 0.1), mention("LOC", "li", 0.9)]
    assert deduplicate(both) == both


def test_mentions_unknown_mode_names_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'onn'.*'on', 'off' or 'reversed'"):
        deduplicate([], "onn")


def brute_deduplicate(mentions: list[Mention], mode: str) -> list[Mention]:
    kept = []
    for mention in mentions:
        same = [m for m in mentions if m.text == mention.text]
        labels = [m.label for m in same]

        def rank(label: str, same=same, labels=labels) -> tuple[float, int]:
            score = max(m.score for m in same if m.label == label)
            return (-score if mode == "on" else score), labels.index(label)

        if mode == "off" or mention.label == sorted(labels, key=rank)[0]:
            kept.append(mention)
    return kept


MENTIONS = st.builds(
    mention,
    st.sampled_from(["PER", "LOC", "ORG"]),
    st.sampled_from(["Li", "li", "李", ""]),
    st.sampled_from([0.1, 0.5, 0.5, 0.9]),
    st.integers(1, 3),
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(MENTIONS, max_size=10), st.sampled_from(["on", "off", "reversed"]))
def test_mentions_deduplicate_equals_brute_force(
    mentions: list[Mention], mode: str
) -> None:
    assert deduplicate(mentions, mode) == brute_deduplicate(mentions, mode)


# Flat choice


def test_mentions_flat_choice_prefers_the_higher_score_to_the_longer() -> None:
    long, short = span(0, 10, 0.4), span(3, 5, 0.6)
    assert choose_flat([long, short]) == [short]


def test_mentions_flat_choice_drops_spans_inside_an_earlier_choice() -> None:
    long, short = span(0, 10, 0.6), span(3, 5, 0.4)
    assert choose_flat([short, long]) == [long]


def test_mentions_flat_choice_prefers_the_longer_among_equal_scores() -> None:
    assert choose_flat([span(0, 4, 0.5), span(2, 7, 0.5)]) == [span(2, 7, 0.5)]


def test_mentions_flat_choice_prefers_the_earlier_among_equal_lengths() -> None:
    assert choose_flat([span(2, 6, 0.5), span(0, 4, 0.5)]) == [span(0, 4, 0.5)]


def test_mentions_flat_choice_prefers_the_label_that_sorts_first() -> None:
    per, loc = span(0, 4, 0.5, "PER"), span(0, 4, 0.5, "LOC")
    assert choose_flat([per, loc]) == [loc]


def test_mentions_flat_choice_keeps_adjacent_spans_in_text_order() -> None:
    first, second = span(0, 4, 0.1), span(4, 6, 0.9)
    assert choose_flat([second, first]) == [first, second]


def test_mentions_flat_choice_frees_tokens_of_an_unchosen_span() -> None:
    best, middle, free = span(0, 3, 0.9), span(2, 6, 0.8), span(5, 8, 0.7)
    assert choose_flat([free, middle, best]) == [best, free]


def test_mentions_flat_choice_of_nothing_is_nothing() -> None:
    assert choose_flat([]) == []


def brute_flat(spans: list[ScoredSpan]) -> list[ScoredSpan]:
    taken: set[int] = set()
    selected = []
    by_label = sorted(spans, key=lambda s: s.label)
    by_start = sorted(by_label, key=lambda s: s.start)
    by_length = sorted(by_start, key=lambda s: s.end - s.start, reverse=True)
    for span in sorted(by_length, key=lambda s: s.score, reverse=True):
        characters = set(range(span.start, span.end))
        if not characters & taken:
            taken |= characters
            selected.append(span)
    return sorted(selected, key=lambda s: s.start)


def test_mentions_flat_choice_equals_brute_force() -> None:
    rng = random.Random(0)
    for _ in range(10_000):
        spans = []
        for _ in range(rng.randint(0, 12)):
            start, size = rng.randrange(15), rng.randint(1, 6)
            score, label = rng.choice([0.2, 0.5, 0.9]), rng.choice("ABC")
            spans.append(span(start, start + size, score, label))
        assert choose_flat(spans) == brute_flat(spans)

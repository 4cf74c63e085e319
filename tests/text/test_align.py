"""Alignment of generated strings to character offsets."""

from __future__ import annotations

import random
import re
import unicodedata
from collections import defaultdict

import pytest
from hypothesis import given, settings, strategies as st

import spacy_padellm.text.align as align_module
from spacy_padellm.mention.mention import Mention
from spacy_padellm.text.align import AlignedMention, align
from spacy_padellm.text.normalize import normalize_text, remove_spaces


def tokens(text: str) -> dict[str, set[int]]:
    """Token edges of a text whose tokens are words and single other characters."""
    found = list(re.finditer(r"\w+|[^\w\s]", text))
    return {"starts": {m.start() for m in found}, "ends": {m.end() for m in found}}


def mentions(*strings: str, label: str = "PER") -> list[Mention]:
    """Mentions of one label, numbered from 1."""
    return [Mention(label, i, text, 0.5) for i, text in enumerate(strings, 1)]


def places(strings: list[str], text: str) -> list[tuple[int | None, int | None, str]]:
    """Start, end and status of each string, as mentions of one label."""
    aligned = align(mentions(*strings), text, **tokens(text))
    return [(a.start, a.end, a.status) for a in aligned]


def found(string: str, text: str) -> tuple[str | None, str]:
    """The characters one string is aligned to, and the status."""
    [(start, end, status)] = places([string], text)
    return (None if start is None else text[start:end]), status


# Exact occurrences


def test_align_kth_mention_goes_to_kth_occurrence() -> None:
    assert places(["Li", "Li"], "Li met Li") == [(0, 2, "exact"), (7, 9, "exact")]


def test_align_guillemets_are_quotation_marks_to_the_model() -> None:
    assert found('"Le Monde" SA', "by «Le Monde» SA") == ("«Le Monde» SA", "normalised")


def test_align_underlines_may_have_a_space_to_the_model() -> None:
    text = "See Foo_ then Foo _ end, and _Bar or _ Bar"
    assert places(["Foo _", "Foo _"], text) == [
        (4, 8, "normalised"),
        (14, 19, "exact"),
    ]
    assert places(["_ Bar", "_ Bar"], text)[1][2] != "dropped"


def test_align_surplus_mentions_are_dropped() -> None:
    assert places(["Li", "Li"], "Li met") == [(0, 2, "exact"), (None, None, "dropped")]


def test_align_counts_by_index_and_returns_input_order() -> None:
    second, first = Mention("PER", 7, "Li", 0.5), Mention("PER", 3, "Li", 0.5)
    text = "Li met Li"
    assert align([second, first], text, **tokens(text)) == [
        AlignedMention(second, 7, 9, "exact"),
        AlignedMention(first, 0, 2, "exact"),
    ]


def test_align_counts_each_string_apart() -> None:
    text = "Wu met Li"
    assert places(["Wu", "Li"], text) == [(0, 2, "exact"), (7, 9, "exact")]


def test_align_counts_each_label_apart() -> None:
    text = "Li met Li"
    both = mentions("Li", label="PER") + mentions("Li", label="LOC")
    assert [a.start for a in align(both, text, **tokens(text))] == [0, 0]


def test_align_place_outside_longer_mentions_is_preferred() -> None:
    text = "Dirk Berlin was born in Berlin"
    both = mentions("Berlin", label="LOC") + mentions("Dirk Berlin", label="PER")
    assert [a.start for a in align(both, text, **tokens(text))] == [24, 0]


def test_align_place_inside_an_unlikely_longer_mention_is_not_avoided() -> None:
    text = "Dirk Berlin was born in Berlin"
    both = [Mention("LOC", 1, "Berlin", 0.9), Mention("PER", 1, "Dirk Berlin", 0.4)]
    assert [a.start for a in align(both, text, **tokens(text))] == [5, 0]


def test_align_places_inside_longer_mentions_are_used_if_there_are_too_few() -> None:
    text = "Dirk Berlin was born in Berlin"
    assert places(["Dirk Berlin", "Berlin", "Berlin"], text) == [
        (0, 11, "exact"),
        (5, 11, "exact"),
        (24, 30, "exact"),
    ]


def test_align_whole_token_inside_a_longer_mention_wins_over_part_of_a_token() -> None:
    text = "the Li family, Lisa"
    both = mentions("Li", label="PER") + mentions("Li family", label="ORG")
    assert [a.start for a in align(both, text, **tokens(text))] == [4, 4]


def test_align_whole_token_wins_over_earlier_part_of_a_token() -> None:
    text = "theatre in the city"
    assert places(["the"], text) == [(11, 14, "exact")]


def test_align_part_of_a_token_is_used_when_no_whole_token_is_left() -> None:
    text = "USA and US"
    assert places(["US", "US"], text) == [(8, 10, "exact"), (0, 2, "exact")]


@pytest.mark.parametrize("text", ["the heat", "bathe, the heat"])
def test_align_whole_token_needs_both_edges(text: str) -> None:
    assert places(["he"], text)[0][0] == text.index("he")


def test_align_occurrences_inside_a_token_do_not_overlap() -> None:
    aligned = places(["aa", "aa", "aa"], "aaaaa")
    assert aligned == [(0, 2, "exact"), (2, 4, "exact"), (None, None, "dropped")]


def test_align_scan_does_not_hide_an_overlapping_whole_token() -> None:
    # Tokens "a" and "aa"
    [first, second] = align(mentions("aa", "aa"), "aaa", starts=[0, 1], ends=[1, 3])
    assert (first.start, first.end, second.status) == (1, 3, "dropped")


def test_align_whole_token_occurrences_do_not_overlap() -> None:
    aligned = places(["a b a", "a b a"], "a b a b a")
    assert aligned == [(0, 5, "exact"), (None, None, "dropped")]


def test_align_exact_keeps_the_space_of_the_mention() -> None:
    assert found("件 ", "一件 衣服") == ("件 ", "exact")


def test_align_exact_elsewhere_wins_over_earlier_normalised() -> None:
    assert places(["Apple"], "APPLE or Apple") == [(9, 14, "exact")]


@pytest.mark.parametrize(
    ("string", "first", "second"),
    [
        ("New York", "New York", "New\nYork"),
        ("New York", "New  York", "New York"),
        ("Jos\u00e9", "Jos\u00e9", "Jose\u0301"),
    ],
)
def test_align_strings_that_normalize_alike_are_one_string(
    string: str, first: str, second: str
) -> None:
    text = f"in {first} or {second} now"
    aligned = places([string, string], text)
    found = [(text[start:end], status) for start, end, status in aligned]
    assert found == [
        (occurrence, "exact" if occurrence == string else "normalised")
        for occurrence in (first, second)
    ]


def test_align_same_normalized_string_wins_over_earlier_case() -> None:
    text = "BANK OF ENGLAND, the Bank of\nEngland"
    assert places(["Bank of England"], text) == [(21, 36, "normalised")]


def test_align_surplus_of_exact_is_not_looked_for_again() -> None:
    aligned = places(["Apple", "Apple"], "APPLE or Apple")
    assert aligned == [(9, 14, "exact"), (None, None, "dropped")]


# Differences forgiven


def test_align_expanding_characters_do_not_shift_offsets() -> None:
    text = "İstanbul ve İzmir arası, Ankara"
    assert places(["ankara"], text) == [(25, 31, "normalised")]


@pytest.mark.parametrize(
    ("string", "text", "expected"),
    [
        ("NATO", "in Nato today", "Nato"),
        ("STRASSE", "die Straße hier", "Straße"),
        ("office", "an oﬃce here", "oﬃce"),
        ("i\u0307zmir", "ve İzmir", "İzmir"),
        ("ＡＢＣ１", "the abc1 set", "abc1"),
        ("ABC1", "the ＡＢＣ１ set", "ＡＢＣ１"),
        ("Café", "le cafe\u0301 noir", "cafe\u0301"),
        ("cafe\u0301", "le Café noir", "Café"),
        ("ガス", "あｶﾞｽい", "ｶﾞｽ"),
        (
            "각하",
            "the \u1100\u1161\u11a8\u1112\u1161 is",
            "\u1100\u1161\u11a8\u1112\u1161",
        ),
        ("\u03aa\u0301x", "α\u0390x", "\u0390x"),
    ],
)
def test_align_forgives_form_and_case(string: str, text: str, expected: str) -> None:
    assert found(string, text) == (expected, "normalised")


@pytest.mark.parametrize(
    ("string", "text", "expected"),
    [
        ("New York", "in New\nYork today", "New\nYork"),
        ("New York", "in New \u3000 York today", "New \u3000 York"),
        (" York\n", "in York", "York"),
        ("U.S .", "the U.S. army", "U.S."),
        ("Merkel", "met Mer\u00adkel in", "Mer\u00adkel"),
        ("New York", "in \u200bNew\u200b York\ufeff", "New\u200b York"),
        ("New York", "in \x00New\x00York\x00", "New\x00York"),
        ("北 京", "在北京市", "北京"),
        ("北京", "在北 京 市", "北 京"),
        ("صلى الله عليه وسلم", "a ﷺ b", "ﷺ"),
        ("صلى الله عليهوسلم", "a ﷺ b", "ﷺ"),
    ],
)
def test_align_forgives_spaces(string: str, text: str, expected: str) -> None:
    assert found(string, text) == (expected, "normalised")


def test_align_strings_with_soft_hyphens_are_the_same_string() -> None:
    text = "Mer\u00adkel met Merkel"
    assert places(["Merkel", "Merkel"], text)[0][:2] == (0, 7)


def test_align_equal_spaces_win_over_earlier_missing_ones() -> None:
    assert found("new york", "newyork or NEW  YORK") == ("NEW  YORK", "normalised")


@pytest.mark.parametrize(
    ("string", "text"),
    [
        ("STRAS", "Straße"),
        ("se", "Straße"),
        ("F", "oﬃce"),
        ("E", "cafe\u0301"),
        ("CAFE", "cafe\u0301"),
        ("\u0301B", "e\u0301b"),
        ("A\u0301", "a\u0327\u0301"),
        ("가\u3000", "\u1100\u1161\u11a8"),
    ],
)
def test_align_finds_no_part_of_a_normalised_character(string: str, text: str) -> None:
    assert found(string, text) == (None, "dropped")


def test_align_normalised_follows_order_tokens_and_count() -> None:
    text = "USA, Us and uS"
    assert places(["us", "us", "us", "us"], text) == [
        (5, 7, "normalised"),
        (12, 14, "normalised"),
        (0, 2, "normalised"),
        (None, None, "dropped"),
    ]


def test_align_mark_after_a_space_does_not_include_the_spaces() -> None:
    assert found("\u0301A", "x \u0301a") == ("\u0301a", "normalised")


def test_align_form_with_a_space_inside_is_found_whole() -> None:
    # NFKC of a lone diaeresis is a space and a combining mark
    assert found("¨ A", "x ¨ a") == ("¨ a", "normalised")


@pytest.mark.parametrize("string", ["", " ", "\n\u3000"])
def test_align_whitespace_mention_is_dropped(string: str) -> None:
    assert found(string, "a \n\u3000 b") == (None, "dropped")


def test_align_absent_mention_is_dropped() -> None:
    assert found("Paris", "in London") == (None, "dropped")


def test_align_empty_text_drops_all() -> None:
    assert found("Paris", "") == (None, "dropped")


def test_align_no_mentions_give_nothing() -> None:
    assert align([], "Paris", starts=[0], ends=[5]) == []


def test_align_accepts_token_edges_of_any_collection() -> None:
    [hit] = align(mentions("he"), "the he", starts=(0, 4), ends=range(3, 7, 3))
    assert hit.start == 4


# Random texts against a brute force

ALPHABET = [
    *"aaabbAB",
    *"  \n\u3000\u00a0\u200b\ufeff.",
    *"éeE\u0301\u0327",
    *"İi\u0307ıI",
    *"ßsS\u1e9e",
    *"ﬁfF",
    *"Ａａ１1",
    *"中中国",
    *"ガカｶﾞ\u3099",
    *"가각\u1100\u1161\u11a8\u314f",
]


INVISIBLE = "\u200b\ufeff\x00"


def seen(string: str) -> str:
    """The string with spaces in the place of invisible characters."""
    return string.translate(dict.fromkeys(map(ord, INVISIBLE), " "))


def normal(string: str, space: str) -> str:
    """Normal form of a whole string, by Unicode's definition and not by chunks."""
    form = unicodedata.normalize("NFKC", seen(string)).casefold()
    return space.join(unicodedata.normalize("NFKC", form).split())


def is_cut(text: str, i: int) -> bool:
    """Whether a text may be cut at `i`: no mark follows, and nothing composes."""
    beside = map(seen, text[max(i - 1, 0) : i + 1])
    if i in (0, len(text)) or any(map(str.isspace, beside)):
        return True
    marked = unicodedata.normalize("NFKD", text[i])[0] in "\u0301\u0307\u0327\u3099"
    halves = [unicodedata.normalize("NFKC", half) for half in (text[:i], text[i:])]
    return not marked and "".join(halves) == unicodedata.normalize("NFKC", text)


def brute_occurrences(string: str, text: str) -> list[tuple[int, int]]:
    """Try all substrings of the text."""
    if not seen(string).strip():
        return []
    spans = [(i, j) for i in range(len(text)) for j in range(i + 1, len(text) + 1)]
    cuts = [is_cut(text, i) for i in range(len(text) + 1)]
    free = [
        (i, j)
        for i, j in spans
        if cuts[i] and cuts[j]
        if not seen(text[i]).isspace() and not seen(text[j - 1]).isspace()
    ]
    exact = {(i, j) for i, j in spans if text[i:j] == string}
    same = {(i, j) for i, j in free if normalize_text(text[i:j]) == string}
    if exact or same:
        return sorted(exact | same)
    for space in (" ", ""):
        normalized = normal(string, space)
        if hits := [(i, j) for i, j in free if normal(text[i:j], space) == normalized]:
            return hits
    return []


def brute_align(
    items: list[Mention], text: str, starts: set[int], ends: set[int]
) -> list[AlignedMention]:
    """Give out the occurrences one by one, with a set of the characters taken."""
    result = {
        i: AlignedMention(item, None, None, "dropped") for i, item in enumerate(items)
    }
    placed: list[tuple[int, int, int]] = []  # length of the string, place
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for i in sorted(range(len(items)), key=lambda i: (items[i].index, i)):
        groups[items[i].text, items[i].label].append(i)
    for (string, _), members in sorted(groups.items(), key=lambda g: -len(g[0][0])):
        occurrences = brute_occurrences(string, text)
        whole = [o for o in occurrences if o[0] in starts and o[1] in ends]
        taken: set[int] = set()
        places = []
        for start, end in whole + [o for o in occurrences if o not in whole]:
            if taken.isdisjoint(range(start, end)):
                taken.update(range(start, end))
                places.append((start, end))
        inside = [
            any(a <= i and j <= b for size, a, b in placed if size > len(string))
            for i, j in places
        ]
        kept = [
            p
            for p, hidden in zip(places, inside, strict=True)
            if p in whole and not hidden
        ]
        kept += [
            p for p, hidden in zip(places, inside, strict=True) if p in whole and hidden
        ]
        chosen = sorted(kept[: len(members)]) + [p for p in places if p not in whole]
        for i, (start, end) in zip(members, chosen, strict=False):
            status = "exact" if text[start:end] == string else "normalised"
            result[i] = AlignedMention(items[i], start, end, status)  # type: ignore[arg-type]
            placed.append((len(string), start, end))
    return [result[i] for i in range(len(items))]


def perturb(string: str, rng: random.Random) -> str:
    """Change what alignment forgives, or a character more."""
    changes = [
        str.upper,
        str.casefold,
        lambda s: unicodedata.normalize("NFKC", s),
        lambda s: unicodedata.normalize("NFKD", s),
        lambda s: " ".join(s.split()),
        lambda s: "".join(s.split()),
        lambda s: " ".join(s),
        lambda s: f"\n{s} ",
        lambda s: s + rng.choice(ALPHABET),
        lambda s: s[1:],
    ]
    for change in rng.sample(changes, rng.randint(0, 2)):
        string = change(string)
    return string


def random_case(rng: random.Random) -> tuple[list[Mention], str, set[int], set[int]]:
    """A text, its token edges and mentions that are mostly from it, often repeated."""
    letters = rng.sample(ALPHABET, rng.randint(1, 6))
    text = "".join(rng.choices(letters, k=rng.randint(0, 11)))
    cuts = sorted(rng.sample(range(len(text) + 1), rng.randint(0, len(text) + 1)))
    pairs = [
        (i, j)
        for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)
        if seen(text[i:j]).strip()
    ]
    strings = []
    for _ in range(rng.randint(1, 2)):
        start = rng.randint(0, len(text))
        strings.append(perturb(text[start : start + rng.randint(1, 4)], rng))
    items = [
        Mention(rng.choice("AAAB"), rng.randint(1, 3), rng.choice(strings), 0.5)
        for _ in range(rng.randint(1, 4))
    ]
    return items, text, {i for i, _ in pairs}, {j for _, j in pairs}


def test_align_equals_brute_force() -> None:
    rng = random.Random(0)
    statuses: defaultdict[str, int] = defaultdict(int)
    for _ in range(30_000):
        items, text, starts, ends = random_case(rng)
        aligned = align(items, text, starts=starts, ends=ends)
        assert aligned == brute_align(items, text, starts, ends), text
        for hit in aligned:
            statuses[hit.status] += 1
    # Each way of finding was really met
    assert min(statuses[s] for s in ("exact", "normalised", "dropped")) > 5000


STRINGS = st.text(st.sampled_from(ALPHABET), max_size=5)


@settings(max_examples=2000, deadline=None)
@given(
    st.lists(STRINGS, max_size=5),
    st.text(st.sampled_from(ALPHABET), max_size=30),
    st.sets(st.integers(0, 30)),
)
def test_align_results_are_valid(
    strings: list[str], text: str, edges: set[int]
) -> None:
    taken: defaultdict[str, set[int]] = defaultdict(set)
    aligned = align(mentions(*strings), text, starts=edges, ends=edges)
    assert [a.mention.text for a in aligned] == strings
    for hit in aligned:
        if hit.start is None or hit.end is None:
            assert (hit.start, hit.end, hit.status) == (None, None, "dropped")
            continue
        assert 0 <= hit.start < hit.end <= len(text)
        characters = text[hit.start : hit.end]
        string = hit.mention.text
        if hit.status == "exact":
            assert characters == string
        else:
            assert hit.status == "normalised"
            assert seen(characters) == seen(characters).strip()
            assert string not in text or normalize_text(characters) == string
            assert normal(characters, "") == normal(string, "")
        assert taken[string].isdisjoint(range(hit.start, hit.end))
        taken[string].update(range(hit.start, hit.end))


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=20), st.data())
def test_align_any_unicode_is_found_in_another_form(
    text: str, data: st.DataObject
) -> None:
    form = data.draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
    string = unicodedata.normalize(form, text)
    [hit] = align(mentions(string), f"x {text} y", starts=[], ends=[])
    assert (hit.status == "dropped") == (not remove_spaces(text))


# Cost


@pytest.fixture
def normalised_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every string that is normalised from now on."""
    split = align_module._split
    seen: list[str] = []

    def record(text: str) -> list[align_module._Chunk]:
        seen.append(text)
        return split(text)

    monkeypatch.setattr(align_module, "_split", record)
    return seen


def test_align_exact_mentions_normalise_nothing(normalised_texts: list[str]) -> None:
    places(["Li", "Wu"], "Li met Wu")
    assert normalised_texts == []


def test_align_normalises_the_text_once(normalised_texts: list[str]) -> None:
    places(["LI", "WU", "W u", "Bo"], "Li met Wu")
    assert normalised_texts.count("Li met Wu") == 1


def test_align_normalises_each_character_of_a_long_text_once(
    normalised_texts: list[str],
) -> None:
    rng = random.Random(0)
    text = "".join(rng.choices("ab cdé中国 \n", k=50_000))
    strings = [text[i : i + 6].upper() for i in range(0, 50_000, 50)]
    # With other whitespace, then with spaces that the text does not have
    strings = [f"{s} " if i % 2 else " ".join(s) for i, s in enumerate(strings)]
    places(strings, text)
    characters = sum(map(len, normalised_texts))
    assert characters <= len(text) + 2 * sum(map(len, strings))


@pytest.mark.parametrize("apart", [" ", "  "])
@pytest.mark.parametrize("turn", [1, -1])
def test_align_finds_names_with_and_without_the_space_after_a_mark(
    apart: str, turn: int
) -> None:
    names = ["Washington, D.C.", "Washington,D.C."][::turn]
    text = f"from {names[0]} to{apart}{names[1]} today"
    places = [(text.index(name), text.index(name) + len(name)) for name in names]
    mentions = [Mention("LOC", n, "Washington, D.C.", 0.9) for n in (1, 2)]
    starts, ends = zip(*places, strict=True)
    aligned = align(mentions, text, starts=starts, ends=ends)
    assert [(found.start, found.end) for found in aligned] == places

from __future__ import annotations

import json

import pytest
from conftest import TWICE, make_tokenizer
from hypothesis import given, settings, strategies as st

from spacy_padellm.lm.task.config import TaskSettings
from spacy_padellm.prompt.template import (
    MOST_COPIES,
    PRESETS,
    Prompt,
    make_prompt,
    split_fields,
)
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens

TOKENIZER = make_tokenizer()


def make_tokens(preset: str, **templates: str) -> PromptTokens:
    prompt = make_prompt(preset, **templates)
    tokenizer = make_tokenizer()
    special = list(prompt.special_tokens)
    tokenizer.add_tokens(special, special_tokens=True)
    return PromptTokens(prompt, tokenizer)


@pytest.fixture(
    scope="module", params=[*sorted(PRESETS), *(f"{preset} twice" for preset in TWICE)]
)
def tokens(request: pytest.FixtureRequest) -> PromptTokens:
    preset, _, twice = request.param.partition(" ")
    return make_tokens(preset, **({"text": TWICE[preset]} if twice else {}))


def rendered(tokens: PromptTokens, ids: list[int]) -> str:
    text = tokens.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return str(text)


def test_prompt_count_prompts_render_the_template(tokens: PromptTokens) -> None:
    names = ["person", "location"]
    (count_prompts,) = tokens.count_prompts(["Paris , France"], names)
    for name, ids in zip(names, count_prompts.labels, strict=True):
        expected = tokens.prompt.text.format(text="Paris , France")
        expected += tokens.prompt.label.format(label=name)
        assert rendered(tokens, count_prompts.root + ids) == expected


def test_prompt_longest_count_prompt_is_measured_without_the_text(
    tokens: PromptTokens,
) -> None:
    names = ("person", "very long location")
    (count_prompts,) = tokens.count_prompts(["Paris , France"], names)
    text = (count_prompts.text[1] - count_prompts.text[0]) * tokens.prompt.copies
    expected = max(len(count_prompts.root + ids) for ids in count_prompts.labels) - text
    assert tokens.longest_count_prompt(names) == expected
    assert tokens.longest_count_prompt(names[:1]) < expected


@pytest.mark.parametrize("count", [1, 3, 12])
def test_prompt_mention_prompts_render_the_template(
    tokens: PromptTokens, count: int
) -> None:
    text, name = "Paris , France", "location"
    (count_prompts,) = tokens.count_prompts([text], [name])
    mention_prompts = tokens.mention_prompts(text, name, count=count, number=count)
    count_prompt = count_prompts.root + count_prompts.labels[0]
    path = count_prompt[: mention_prompts.keep] + mention_prompts.stem
    assert len(mention_prompts.mentions) == count
    for n, ids in enumerate(mention_prompts.mentions, start=1):
        expected = tokens.prompt.text.format(text=text)
        expected += tokens.prompt.label.format(label=name)
        expected += tokens.prompt.count.format(count=count)
        expected += tokens.prompt.mention.format(n=n)
        assert rendered(tokens, path + ids) == expected


def test_prompt_text_place_holds_the_text(tokens: PromptTokens) -> None:
    (count_prompts,) = tokens.count_prompts(["Angela Merkel"], ["person", "x"])
    start, end = count_prompts.text
    assert "Angela Merkel" in rendered(tokens, count_prompts.root[start:end])


@pytest.mark.parametrize("text", ["</s>", "a <|label|> b", "<|mention 1|>", "<num>"])
def test_prompt_special_tokens_in_text_stay_text(
    tokens: PromptTokens, text: str
) -> None:
    (count_prompts,) = tokens.count_prompts([text], ["person"])
    start, end = count_prompts.text
    special = set(tokens.strings._special)
    assert not special & set(count_prompts.root[start:end])
    assert text in rendered(tokens, count_prompts.root)


@given(st.integers(1, 9999))
@settings(max_examples=100, deadline=None)
def test_prompt_reads_the_count_it_states(count: int) -> None:
    for preset in ("paper-en", "released-zh"):
        tokens = PromptTokens(PRESETS[preset], TOKENIZER)
        answer = tokens.count_answer(count)
        assert tokens.read_count(answer) == (count, True)


@pytest.mark.parametrize("answer", ["0", "</s>", "0\n", "none", "-1", "²"])
def test_prompt_reads_no_mention(answer: str) -> None:
    tokens = PromptTokens(PRESETS["paper-en"], TOKENIZER)
    ids = TOKENIZER(answer)["input_ids"] + [tokens.eos]
    assert tokens.read_count(ids) == (0, True)


def test_prompt_count_is_incomplete_until_its_end() -> None:
    tokens = PromptTokens(PRESETS["paper-en"], TOKENIZER)
    digits = TOKENIZER("12")["input_ids"]
    assert tokens.read_count(digits[:1]) == (1, False)
    assert tokens.read_count(digits) == (12, False)


def test_prompt_count_ends_at_the_limit() -> None:
    tokens = PromptTokens(PRESETS["paper-en"], TOKENIZER)
    digits = TOKENIZER("1234567")["input_ids"][:MAX_COUNT_TOKENS]
    assert tokens.read_count(digits) == (12345, True)


@pytest.mark.parametrize("mention", ["Paris", "New York", "北京", "U.S ."])
def test_prompt_mention_answer_decodes_to_the_mention(
    tokens: PromptTokens, mention: str
) -> None:
    *ids, eos = tokens.mention_answer(mention)
    assert eos == tokens.eos
    assert tokens.strings.decode_mentions([ids]) == [mention]


@pytest.mark.parametrize("mention", ["Paris", "New York", "Łódź", "U.S."])
@pytest.mark.parametrize("before", ["", "from ", "("])
def test_prompt_mention_draft_is_the_answer(
    tokens: PromptTokens, before: str, mention: str
) -> None:
    strings = tokens.strings
    (text,) = strings.plain([f"{before}{mention} !"])
    (offsets,) = strings.offsets([f"{before}{mention} !"])
    start, end = len(before), len(before) + len(mention)
    ids = [i for i, (a, b) in zip(text, offsets, strict=True) if a < end and b > start]
    assert tokens.mention_draft(ids) == tokens.mention_answer(mention)[:-1]


def test_prompt_none_answers() -> None:
    paper = PromptTokens(PRESETS["paper-en"], TOKENIZER)
    released = PromptTokens(PRESETS["released-en"], TOKENIZER)
    assert paper.count_answer(0) == [paper.eos]
    assert rendered(released, released.count_answer(0)) == "0</s>"


def test_prompt_without_eos_is_an_error() -> None:
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no <eos> token"):
        PromptTokens(PRESETS["paper-en"], tokenizer)


@pytest.mark.parametrize("names", [["person"], ["person", "location"]])
@pytest.mark.parametrize("preset", sorted(TWICE))
def test_prompt_place_of_the_text_is_its_last_copy(
    preset: str, names: list[str]
) -> None:
    tokens = make_tokens(preset, text=TWICE[preset])
    (count_prompts,) = tokens.count_prompts(["Paris is big ."], names)
    start, end = count_prompts.text
    assert rendered(tokens, count_prompts.root[start:end]).strip() == "Paris is big ."
    before, between, after = split_fields(TWICE[preset])
    first = rendered(tokens, count_prompts.root[:start])
    assert first.rstrip() == f"{before}Paris is big .{between}".rstrip()
    rest = rendered(tokens, count_prompts.root[end:] + count_prompts.labels[0])
    assert rest == after + tokens.prompt.label.format(label=names[0])
    assert count_prompts.text_tokens == 2 * (end - start)


@pytest.mark.parametrize("preset", sorted(TWICE))
def test_prompt_both_directions_are_those_of_the_last_copy(preset: str) -> None:
    prompt = make_prompt(preset, prefix_lm=True, text=TWICE[preset])
    tokens = PromptTokens(prompt, TOKENIZER)
    (count_prompts,) = tokens.count_prompts(["Paris is big ."], ["person"])
    assert count_prompts.bidirectional_span == count_prompts.text


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("template", "end"), [("a: {text}\nb: {text}\nc:", "\nc:"), ("{text}{text}", "\n")]
)
def test_prompt_text_prompts_end_after_the_last_copy(
    template: str, end: str, whole: bool
) -> None:
    prompt = make_prompt("released-en" if whole else "paper-en", text=template)
    tokens = PromptTokens(prompt, TOKENIZER)
    (asked,) = tokens.text_prompts(["Paris"])
    beginning = template.removesuffix(end).format(text="Paris")
    assert rendered(tokens, asked.root) == beginning + end
    assert rendered(tokens, asked.root[: asked.text[0]]).count("Paris") == 1
    assert tokens.end_of_text == end


def test_prompt_text_may_be_read_more_than_twice() -> None:
    tokens = make_tokens("paper-en", text="{text}\n" * MOST_COPIES)
    (count_prompts,) = tokens.count_prompts(["Paris"], ["x"])
    assert rendered(tokens, count_prompts.root).startswith("Paris\n" * MOST_COPIES)


@pytest.mark.parametrize("template", ["no field", "{text}" * (MOST_COPIES + 1)])
def test_prompt_text_never_or_too_often_says_how_often_it_may_be(template: str) -> None:
    message = r"'text' must contain \{text\} once, or up to 8 times, with"
    with pytest.raises(ValueError, match=message):
        make_prompt("paper-en", text=template)


def test_prompt_other_fields_stand_exactly_once() -> None:
    message = r"'label' must contain \{label\} exactly once, with"
    with pytest.raises(ValueError, match=message):
        make_prompt("paper-en", label="{label}{label}")


@pytest.mark.parametrize(
    ("template", "strings"),
    [
        ("{text}", ["", ""]),
        ("a{{b{text}c}}d", ["a{b", "c}d"]),
        ("{{{text}}}{{{text}", ["{", "}{", ""]),
    ],
)
def test_prompt_template_is_split_at_its_fields_only(
    template: str, strings: list[str]
) -> None:
    assert split_fields(template) == strings


@pytest.mark.parametrize(
    "templates",
    [
        {"text": "no field"},
        {"label": "{text}"},
        {"mention": "{n}{n}"},
        {"count": "{"},
        {"text": "{text} {}"},
        {"text": "{text} {text:>9}"},
        {"text": "{text} {text!r}"},
    ],
)
def test_prompt_template_without_its_field_is_an_error(templates: dict) -> None:
    with pytest.raises(ValueError, match="must contain"):
        make_prompt("paper-en", **templates)


def test_prompt_count_after_words_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"must begin with \{count\}"):
        make_prompt("paper-en", count="There are {count}.\n")


def test_prompt_unknown_preset_is_an_error() -> None:
    with pytest.raises(ValueError, match="Unknown prompt preset 'papre'"):
        make_prompt("papre")


def test_prompt_custom_template_replaces_a_preset() -> None:
    prompt = make_prompt("paper-en", label="{label}: ")
    assert prompt.label == "{label}: "
    assert prompt.mention == PRESETS["paper-en"].mention


def test_prompt_literal_braces_are_kept() -> None:
    prompt = make_prompt("paper-en", text="{{{text}}}\n")
    tokens = PromptTokens(prompt, TOKENIZER)
    (count_prompts,) = tokens.count_prompts(["a {b}"], ["x"])
    assert rendered(tokens, count_prompts.root).startswith("{a {b}}\n")


@pytest.mark.parametrize(
    "prompt", [*PRESETS.values(), make_prompt("paper-en", text=TWICE["paper-en"])]
)
def test_prompt_survives_json(prompt: Prompt) -> None:
    settings = TaskSettings({"PER": "人"}, prompt)
    assert TaskSettings.from_json(settings.to_json(), source="x") == settings


def test_prompt_unknown_settings_are_an_error() -> None:
    settings = json.loads(TaskSettings({}, PRESETS["paper-en"]).to_json())["prompt"]
    with pytest.raises(ValueError, match="Correct the names"):
        Prompt.from_dict({**settings, "suffix": "x"})


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_prompt_place_of_the_text_alone_holds_nothing_else(preset: str) -> None:
    prompt = PromptTokens(PRESETS[preset], make_tokenizer())
    (asked,) = prompt.text_prompts(["Paris is big ."])
    start, end = asked.text
    assert prompt.strings.decode(asked.root[start:end]) == "Paris is big ."


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("names", [["person"], ["person", "location"]])
def test_prompt_place_of_the_text_holds_nothing_else(
    preset: str, names: list[str]
) -> None:
    prompt = PromptTokens(PRESETS[preset], make_tokenizer())
    (count_prompts,) = prompt.count_prompts(["Paris is big ."], names)
    start, end = count_prompts.text
    assert prompt.strings.decode(count_prompts.root[start:end]) == "Paris is big ."

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import TWICE, make_lm
from helpers import GOLD, TAGGING, found, initialised, pipe_of, train
from hypothesis import given, strategies as st

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import make_prompt
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.training.loss import tree_loss
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.tags import add_tags, has_overlaps, tag_tokens
from spacy_padellm.training.targets import TagTargets, TrainingTree, make_mention_trees

TEXT = "Merkel met Macron in New York"
GOLD_TEXT = GoldText(
    TEXT,
    {"PER": ["Merkel", "Macron"], "LOC": ["New York"], "ORG": ["York"]},
    [(0, 6, "PER"), (11, 17, "PER"), (21, 29, "LOC"), (25, 29, "ORG")],
)
NAMES = {"PER": "person", "LOC": "location", "ORG": "organization"}


def prepare(
    preset: str = "compact", *, prefix_lm: bool = True, **templates: str
) -> tuple[LanguageModel, PromptTokens]:
    lm = make_lm("llama")
    prompt = make_prompt(preset, prefix_lm=prefix_lm, **templates)
    lm.add_special_tokens(prompt.special_tokens)
    return lm, lm.tokens_of(prompt)


def tagged(
    prompt: PromptTokens,
    gold: GoldText = GOLD_TEXT,
    *,
    names: dict[str, str] = NAMES,
    weight: float = 0.5,
    begin: bool = True,
) -> tuple[TrainingTree, TagTargets]:
    """The tree of a text, and its tags."""
    (tree,) = make_mention_trees(prompt, [gold], names, mention_prefix_loss=True)
    tags = tag_tokens(prompt, names.values(), known={}, others={})
    begins = tag_tokens(prompt, names.values() if begin else [], known={}, others=tags)
    add_tags(
        [tree],
        [gold],
        prompt=prompt,
        labels=names,
        tags=TaughtTags(tags, begins),
        weight=weight,
    )
    assert tree.tags is not None
    return tree, tree.tags


@pytest.mark.parametrize(
    ("preset", "templates"),
    [("compact", {}), ("paper-en", {}), ("paper-en", {"text": TWICE["paper-en"]})],
)
def test_tags_name_the_label_of_each_token(
    preset: str, templates: dict[str, str]
) -> None:
    _, prompt = prepare(preset, **templates)
    tree, found = tagged(prompt)
    (counting,) = prompt.count_prompts([TEXT], [*NAMES.values()])
    assert found.first == counting.text[0]
    (_, root), *_ = tree.chains
    inside = tag_tokens(prompt, NAMES.values(), known={}, others={})
    begin = tag_tokens(prompt, NAMES.values(), known={}, others=inside)
    labels = {prompt.eos: ""}
    for label, name in NAMES.items():
        labels |= {inside[name]: label, begin[name]: label}
        assert inside[name] == prompt.name_tokens(name)[0]
    assert found.tag_ids == set(labels)
    assert len(labels) == 1 + 2 * len(NAMES)
    pieces: dict[str, list[str]] = {}
    for place, target in enumerate(found.targets, found.first):
        piece = prompt.strings.decode([root[place]]).strip()
        strings = pieces.setdefault(labels[target], [])
        if not strings or target in begin.values():
            strings.append("")
        strings[-1] += piece
    # of nested mentions the outer one shows
    assert pieces == {"PER": ["Merkel", "Macron"], "LOC": ["NewYork"], "": ["metin"]}


def test_inside_tags_are_used_where_begin_tags_are_missing() -> None:
    _, prompt = prepare()
    _, found = tagged(prompt, begin=False)
    inside = tag_tokens(prompt, NAMES.values(), known={}, others={})
    assert found.tag_ids == {prompt.eos, *inside.values()}
    assert set(found.targets) == {prompt.eos, inside["person"], inside["location"]}


def test_tags_of_a_model_stay_as_they_are_when_it_is_trained_further() -> None:
    nlp = initialised(**TAGGING)
    train(nlp, steps=1)
    lm = pipe_of(nlp).handle.lm()
    taught = lm.tags
    # as if beginnings had not been taught, and one label not at all
    first, *others = taught.inside
    inside = {name: taught.inside[name] for name in others}
    lm.tags = replace(taught, inside=inside, begins={})
    train(nlp, steps=1)
    assert set(lm.tags.inside) == set(taught.inside)
    assert set(lm.tags.begins) == {first}


def test_tags_are_trained_further_by_default() -> None:
    nlp = initialised(**TAGGING)
    train(nlp, steps=1)
    lm, pipe = pipe_of(nlp).handle.lm(), pipe_of(nlp)
    taught = lm.tags
    pipe.training = TrainingSettings()
    train(nlp, steps=1)
    assert lm.tags == taught
    pipe.training = TrainingSettings(tag_loss=0.0)
    train(nlp, steps=1)
    assert not lm.tags.inside
    assert not lm.tags.begins
    pipe.training = TrainingSettings()
    train(nlp, steps=1)
    assert not lm.tags.inside


def test_tags_are_different_for_names_that_begin_alike() -> None:
    _, prompt = prepare()
    names = {"PER": "person name", "LOC": "person place"}
    gold = GoldText("a b", {"PER": ["a"], "LOC": ["b"]}, [(0, 1, "PER"), (2, 3, "LOC")])
    _, tags = tagged(prompt, gold, names=names)
    assert len({prompt.eos, tags.targets[0], tags.targets[-1]}) == 3


def test_tags_stay_the_same_whatever_is_asked_for() -> None:
    _, prompt = prepare()
    names = ["person name", "person place", "person"]
    tags = tag_tokens(prompt, names, known={}, others={})
    known_names = ["person", "person place"]
    assert tag_tokens(prompt, known_names, known=tags, others={}) == tags
    more = tag_tokens(prompt, ["place", *names], known=tags, others={})
    assert more.items() > tags.items()
    assert len(set(more.values())) == 4


def test_tags_add_their_weight_to_the_loss() -> None:
    lm, prompt = prepare()
    (plain,) = make_mention_trees(prompt, [GOLD_TEXT], NAMES, mention_prefix_loss=True)
    with torch.no_grad():
        without = tree_loss(lm, [plain])
        half, whole = (
            tree_loss(lm, [tagged(prompt, weight=weight)[0]]) - without
            for weight in (0.5, 1)
        )
    assert float(half) > 0
    assert float(whole) == pytest.approx(2 * float(half), rel=1e-4)


def test_tags_of_trees_with_other_labels_do_not_mix() -> None:
    lm, prompt = prepare()
    other = GoldText("Bob slept", {"MISC": ["Bob"]}, [(0, 3, "MISC")])
    trees = [
        tagged(prompt)[0],
        tagged(prompt, other, names={"MISC": "miscellaneous"})[0],
    ]
    with torch.no_grad():
        apart = sum(float(tree_loss(lm, [tree])) for tree in trees)
        assert float(tree_loss(lm, trees)) == pytest.approx(apart, rel=1e-4)


def test_tags_of_a_causal_model_are_an_error() -> None:
    _, prompt = prepare(prefix_lm=False)
    with pytest.raises(ValueError, match="Set prefix_lm = true"):
        tagged(prompt)


def test_tags_of_a_prompt_in_one_go_are_an_error() -> None:
    _, prompt = prepare("released-en")
    with pytest.raises(ValueError, match="set tag_loss = 0"):
        tagged(prompt)


def test_tags_train_a_component() -> None:
    torch.manual_seed(0)
    nlp = initialised(**TAGGING)
    losses = train(nlp, steps=120)
    assert losses[-1] < 0.05 * losses[0]
    expected = [sorted(mentions) for mentions in GOLD.values()]
    assert [sorted(doc) for doc in found(nlp.pipe(GOLD))] == expected


def test_tags_of_an_update_that_fails_are_not_the_models() -> None:
    causal = {**TAGGING, "prompt": {**TAGGING["prompt"], "prefix_lm": False}}
    nlp = initialised(**{**causal, "training": {"@misc": "spacy-padellm.Training.v1"}})
    pipe_of(nlp).training = TrainingSettings(tag_loss=0.3)
    with pytest.raises(ValueError, match="Set prefix_lm = true"):
        train(nlp, steps=1)
    lm = pipe_of(nlp).handle.lm()
    assert not lm.tags.inside
    assert not lm.tags.begins


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=5))
def test_tags_overlaps_are_characters_of_two_mentions(
    pairs: list[tuple[int, int]],
) -> None:
    places = [(start, start + size, "PER") for start, size in pairs]
    covered = [place for start, end, _ in places for place in range(start, end)]
    gold = GoldText("x" * 20, {}, places)
    assert has_overlaps(gold) is (len(set(covered)) < len(covered))

from __future__ import annotations

import pytest
import torch
from conftest import make_lm
from helpers import DOC_SPANS, GOLD, LABELS, found, initialised, train

from spacy_padellm.lm import LanguageModel
from spacy_padellm.prompt import PromptTokens, make_prompt
from spacy_padellm.tags import add_tags
from spacy_padellm.targets import GoldText, TrainingTree, make_trees
from spacy_padellm.training import tree_loss

TEXT = "Merkel met Macron in New York"
GOLD_TEXT = GoldText(
    TEXT,
    {"PER": ["Merkel", "Macron"], "LOC": ["New York"], "ORG": ["York"]},
    [(0, 6, "PER"), (11, 17, "PER"), (21, 29, "LOC"), (25, 29, "ORG")],
)
NAMES = {"PER": "person", "LOC": "location", "ORG": "organization"}


def prepare(
    preset: str = "compact", *, prefix_lm: bool = True
) -> tuple[LanguageModel, PromptTokens]:
    lm = make_lm("llama")
    prompt = make_prompt(preset, prefix_lm=prefix_lm)
    lm.add_special_tokens(prompt.special_tokens)
    return lm, lm.tokens_of(prompt)


def tagged(prompt: PromptTokens, weight: float = 0.5) -> tuple[TrainingTree, int]:
    """The tree of the text with its tags, and how many predictions it had before."""
    (tree,) = make_trees(prompt, [GOLD_TEXT], NAMES, mention_prefix_loss=True)
    before = len(tree.places)
    add_tags([tree], [GOLD_TEXT], prompt=prompt, labels=NAMES, weight=weight)
    return tree, before


@pytest.mark.parametrize("preset", ["compact", "paper-en"])
def test_tags_name_the_label_of_each_token(preset: str) -> None:
    _, prompt = prepare(preset)
    tree, before = tagged(prompt)
    (_, root), *_ = tree.chains
    tags: dict[int, str] = {prompt.eos: ""}
    for label in ("PER", "LOC"):
        tags[prompt.name_tokens(NAMES[label])[0]] = label
    words = []
    for place, target in zip(tree.places[before:], tree.targets[before:], strict=True):
        if tags[target]:
            words.append((prompt.decode([root[place]]).strip(), tags[target]))
    pieces = {
        label: "".join(piece for piece, tag in words if tag == label)
        for label in ("PER", "LOC")
    }
    # of nested mentions the outer one shows
    assert pieces == {"PER": "MerkelMacron", "LOC": "NewYork"}
    assert len(tree.places) - before == len(prompt.offsets([TEXT])[0])
    assert set(tree.weights[before:]) == {0.5}


def test_tags_are_different_for_names_that_begin_alike() -> None:
    _, prompt = prepare()
    names = {"PER": "person name", "LOC": "person place"}
    gold = GoldText("a b", {"PER": ["a"], "LOC": ["b"]}, [(0, 1, "PER"), (2, 3, "LOC")])
    (tree,) = make_trees(prompt, [gold], names, mention_prefix_loss=True)
    before = len(tree.places)
    add_tags([tree], [gold], prompt=prompt, labels=names, weight=1)
    targets = [target for target in tree.targets[before:] if target != prompt.eos]
    assert len(targets) > 1
    assert targets[0] != targets[-1]


def test_tags_add_their_weight_to_the_loss() -> None:
    lm, prompt = prepare()
    (plain,) = make_trees(prompt, [GOLD_TEXT], NAMES, mention_prefix_loss=True)
    with torch.no_grad():
        without = tree_loss(lm, [plain])
        half, whole = (
            tree_loss(lm, [tagged(prompt, weight)[0]]) - without for weight in (0.5, 1)
        )
    assert float(half) > 0
    assert float(whole) == pytest.approx(2 * float(half), rel=1e-4)


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
    nlp = initialised(
        labels=LABELS,
        prompt={
            "@misc": "spacy-padellm.Prompt.v1",
            "preset": "compact",
            "prefix_lm": True,
        },
        training={"@misc": "spacy-padellm.Training.v1", "tag_loss": 0.3},
        span_getter=DOC_SPANS,
    )
    losses = train(nlp, steps=120)
    assert losses[-1] < 0.05 * losses[0]
    wanted = [sorted(mentions) for mentions in GOLD.values()]
    assert [sorted(doc) for doc in found(nlp.pipe(GOLD))] == wanted

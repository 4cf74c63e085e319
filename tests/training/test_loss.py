from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from conftest import CONFIGS, TWICE, make_lm

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import PRESETS, make_prompt
from spacy_padellm.training import loss
from spacy_padellm.training.loss import batches, summed, supported_trees, tree_loss
from spacy_padellm.training.schedules import warmup_cosine
from spacy_padellm.training.separate_examples import separate_examples
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.targets import TrainingTree, make_mention_trees
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree, pad_trees

LABELS = {"PER": "person", "LOC": "location", "ORG": "organization"}
WORDS = ["Angela", "Merkel", "Berlin", "Paris", "2", "10", ",", "北京", "New"]


def random_golds(seed: int, count: int) -> list[GoldText]:
    rng = random.Random(seed)
    golds = []
    for _ in range(count):
        words = rng.choices(WORDS, k=rng.randint(1, 14))
        mentions: dict[str, list[str]] = {}
        for place in range(len(words)):
            if rng.random() < 0.3:
                piece = " ".join(words[place : place + rng.randint(1, 3)])
                mentions.setdefault(rng.choice(list(LABELS)), []).append(piece)
        golds.append(GoldText(" ".join(words), mentions))
    return golds


def trees_of(
    lm: LanguageModel,
    golds: list[GoldText],
    preset: str,
    *,
    prefix: bool = True,
    prefix_lm: bool = False,
    **templates: str,
) -> list[TrainingTree]:
    prompt = make_prompt(preset, prefix_lm=prefix_lm, **templates)
    lm.add_special_tokens(prompt.special_tokens)
    return make_mention_trees(
        lm.tokens_of(prompt), golds, LABELS, mention_prefix_loss=prefix
    )


def gradient(lm: LanguageModel, trees: list[TrainingTree]) -> torch.Tensor:
    lm.model.zero_grad()
    total = sum(sum(tree.weights) for tree in trees)
    (tree_loss(lm, trees) / total).backward()
    return torch.cat([p.grad.flatten() for p in lm.model.parameters()])


def assert_gradient_of_separate_examples(
    lm: LanguageModel, trees: list[TrainingTree]
) -> None:
    expected = gradient(
        lm, [example for tree in trees for example in separate_examples(tree)]
    )
    found = gradient(lm, trees)
    assert (found - expected).norm() / expected.norm() < 1e-4


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_training_tree_gradient_equals_separate_examples(
    kind: str, preset: str, prefix: bool
) -> None:
    lm = make_lm(kind)
    lm.model.float()
    trees = trees_of(lm, random_golds(1, 4), preset, prefix=prefix)
    assert_gradient_of_separate_examples(lm, trees)


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_training_prefix_lm_gradient_equals_separate_examples(kind: str) -> None:
    lm = make_lm(kind)
    trees = trees_of(lm, random_golds(1, 4), "compact", prefix_lm=True)
    assert_gradient_of_separate_examples(lm, trees)


@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize("preset", sorted(TWICE))
def test_training_text_read_twice_gradient_equals_separate_examples(
    preset: str, prefix_lm: bool
) -> None:
    lm, golds = make_lm("llama"), random_golds(1, 4)
    trees = trees_of(lm, golds, preset, prefix_lm=prefix_lm, text=TWICE[preset])
    assert_gradient_of_separate_examples(lm, trees)


@pytest.mark.parametrize("preset", sorted(TWICE))
def test_training_text_read_twice_loss_is_of_the_papers_examples(preset: str) -> None:
    lm = make_lm("llama")
    trees = trees_of(lm, random_golds(1, 4), preset, text=TWICE[preset])
    loss, expected = tree_loss(lm, trees).detach(), separately(lm, trees).detach()
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_training_prefix_lm_reads_as_decoding_reads(kind: str) -> None:
    lm = make_lm(kind)
    first, second = (TokenTree(bidirectional_span=(0, 4)) for _ in range(2))
    for tree in (first, second):
        tree.extend(ROOT, [3, 4, 5, 6, 7, 8])
    with torch.inference_mode():
        found, _ = lm.logits(pad_trees([first]), range(6))
        expected, _ = lm.packed_logits(pack([second], 0), range(6), TreeKVCache())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def separately(lm: LanguageModel, trees: list[TrainingTree]) -> torch.Tensor:
    """The loss of the paper's examples, with a forward pass for each."""
    loss = torch.zeros(())
    for example in (example for tree in trees for example in separate_examples(tree)):
        ((_, ids),) = example.chains
        logits = lm.model(torch.tensor([ids])).logits[0]
        targets = torch.tensor(example.targets)
        loss += F.cross_entropy(logits[example.positions], targets, reduction="sum")
    return loss


@pytest.mark.parametrize("kind", ["mpt", "bloom", "mamba", "mistral"])
def test_training_models_without_trees_learn_separate_examples(kind: str) -> None:
    lm = make_lm(kind)
    trees = trees_of(lm, random_golds(1, 4), "compact")
    fitted = supported_trees(lm, trees)
    assert len(fitted) > len(trees)
    loss = tree_loss(lm, fitted).detach()
    assert float(loss) == pytest.approx(float(separately(lm, trees).detach()), rel=1e-4)


def test_training_prefix_lm_without_trees_is_an_error() -> None:
    lm = make_lm("mpt")
    trees = trees_of(lm, random_golds(1, 2), "compact", prefix_lm=True)
    with pytest.raises(ValueError, match="Set prefix_lm = false"):
        supported_trees(lm, trees)


@pytest.mark.parametrize(
    ("preset", "templates"),
    [
        *((preset, {}) for preset in sorted(PRESETS)),
        *((preset, {"text": text}) for preset, text in TWICE.items()),
    ],
)
def test_training_separate_examples_are_the_papers(
    preset: str, templates: dict[str, str]
) -> None:
    lm = make_lm("llama")
    text, mentions = "Merkel met Macron in Paris", ["Merkel", "Macron"]
    (tree,) = trees_of(lm, [GoldText(text, {"PER": mentions})], preset, **templates)
    prompt = make_prompt(preset, **templates)
    found = []
    for example in separate_examples(tree):
        ((_, ids),) = example.chains
        assert example.targets[-1] == lm.tokenizer.eos_token_id
        found.append(lm.tokenizer.decode(ids, clean_up_tokenization_spaces=False))
    prompts = [
        prompt.text.format(text=text) + prompt.label.format(label=name)
        for name in LABELS.values()
    ]
    assert sorted(found) == sorted(
        [
            *(
                prompts[0]
                + prompt.count.format(count=2)
                + prompt.mention.format(n=n)
                + mention
                for n, mention in enumerate(mentions, start=1)
            ),
            prompts[1] + prompt.none,
            prompts[2] + prompt.none,
        ]
    )


def test_training_separate_examples_read_the_targets_once() -> None:
    class Counting(list[int]):
        def __iter__(self) -> Iterator[int]:
            nonlocal reads
            reads += 1
            return super().__iter__()

    reads = 0
    tree = TrainingTree(targets=Counting())
    root = tree.extend(ROOT, [1, 2])
    for mention in range(20):
        tree.predict(tree.extend(root, [3, mention], weight=1), 9, 1)
    assert len(separate_examples(tree)) == 20
    assert reads == 1


def test_training_loss_starts_at_the_count() -> None:
    lm = make_lm("llama")
    text = "Merkel"
    (tree,) = trees_of(lm, [GoldText(text, {"PER": ["Merkel"]})], "paper-en")
    example = next(e for e in separate_examples(tree) if len(e.targets) > 1)
    targets = lm.tokenizer.decode(example.targets, clean_up_tokenization_spaces=False)
    assert targets == "1\n<mention 1>Merkel</s>"


def test_training_mention_prefix_can_be_left_out_of_the_loss() -> None:
    lm = make_lm("llama")
    golds = [GoldText("Merkel", {"PER": ["Merkel"]})]
    (tree,) = trees_of(lm, golds, "paper-en", prefix=False)
    example = next(e for e in separate_examples(tree) if len(e.targets) > 1)
    targets = lm.tokenizer.decode(example.targets, clean_up_tokenization_spaces=False)
    assert targets == "1\nMerkel</s>"


def test_training_batches_keep_all_trees_and_the_limit() -> None:
    lm = make_lm("llama")
    trees = trees_of(lm, random_golds(2, 40), "paper-en")
    cut = list(batches(trees, 400))
    assert sorted(id(t) for batch in cut for t in batch) == sorted(map(id, trees))
    assert all(len(b) * max(t.size for t in b) <= 400 for b in cut if len(b) > 1)


def test_training_text_longer_than_the_context_is_an_error() -> None:
    lm = make_lm("llama")
    trees = trees_of(lm, random_golds(2, 4), "paper-en")
    lm.model.config.max_position_embeddings = 20
    with pytest.raises(ValueError, match="does not fit the model, which takes 20"):
        tree_loss(lm, trees)


def test_training_batches_add_up_to_one_gradient() -> None:
    lm = make_lm("qwen3")
    trees = trees_of(lm, random_golds(3, 12), "compact")
    expected = gradient(lm, trees)
    lm.model.zero_grad()
    total = sum(sum(tree.weights) for tree in trees)
    for batch in batches(trees, 200):
        (tree_loss(lm, batch) / total).backward()
    found = torch.cat([p.grad.flatten() for p in lm.model.parameters()])
    assert (found - expected).norm() / expected.norm() < 1e-4


def test_training_loss_of_many_logits_is_computed_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = make_lm("llama")
    trees = trees_of(lm, random_golds(3, 12), "compact")
    whole, expected = tree_loss(lm, trees), gradient(lm, trees)
    sizes: list[int] = []
    plain = loss._weighted_loss

    def weighted(logits: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        sizes.append(len(logits))
        return plain(logits, *rest)

    monkeypatch.setattr(loss, "_MOST_LOGITS", 7 * len(lm.tokenizer))
    monkeypatch.setattr(loss, "_weighted_loss", weighted)
    torch.testing.assert_close(gradient(lm, trees), expected)
    assert max(sizes) == 7
    with torch.no_grad():
        torch.testing.assert_close(tree_loss(lm, trees), whole.detach())


def test_training_nan_loss_is_an_error() -> None:
    lm = make_lm("llama")
    trees = trees_of(lm, random_golds(5, 1), "paper-en")
    torch.nn.init.constant_(lm.model.model.norm.weight, torch.nan)
    with pytest.raises(ValueError, match="Lower the learning rate"):
        summed([tree_loss(lm, trees)])


def test_training_warmup_cosine_rises_and_falls() -> None:
    rates = warmup_cosine(1.0, warmup_steps=4, total_steps=12)
    found = [next(rates) for _ in range(15)]
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[8] == pytest.approx(0.5)
    assert found[4:13] == sorted(found[4:13], reverse=True)
    assert found[12:] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_batch_tokens", 0),
        ("max_batch_tokens", "9"),
        ("tag_loss", -1.0),
        ("tag_loss", "1"),
        ("tag_loss", float("nan")),
    ],
)
def test_training_setting_out_of_range_is_reported(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"setting {setting} is .*\. Set it to a"):
        TrainingSettings(**{setting: value})  # type: ignore[arg-type]

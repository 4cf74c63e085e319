"""Training targets: gold mentions as token trees with loss weights.

A tree holds what the paper unrolls into one example for each mention (section 3.2):
its loss and its gradient are the same, because a token that several examples share
weighs as many times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spacy_padellm.decoding.base import COUNTS_AND_MENTIONS
from spacy_padellm.decoding.baselines.answer_format import AnswerFormat
from spacy_padellm.decoding.baselines.augmented import AUGMENTED
from spacy_padellm.decoding.baselines.onestep import ONE_STEP
from spacy_padellm.decoding.baselines.structured import STRUCTURED
from spacy_padellm.errors import Errors
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.branches import CountBranches
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.token_tree import ROOT


@dataclass(frozen=True, slots=True)
class Tags:
    """What tokens of a text are to choose besides; see `add_tags`.

    first (int): The first of these tokens, which follow each other.
    targets (list[int]): What each is to choose.
    tag_ids (frozenset[int]): What it chooses from.
    weight (float): Of each token.
    """

    first: int
    targets: list[int]
    tag_ids: frozenset[int]
    weight: float


@dataclass(slots=True)
class TrainingTree:
    """A text's token tree, with what is to be predicted where.

    chains (list[tuple[int, list[int]]]): Parent and tokens of each chain; tokens are
        numbered in this order.
    places, targets (list[int]): After which token which token is to be predicted.
    weights (list[float]): How many of the paper's examples hold each prediction.
    size, depth (int): Tokens, and tokens of the longest path.
    bidirectional_span (tuple[int, int]): See `TokenTree`.
    tags (Tags | None): What the text's tokens are to choose besides.
    """

    chains: list[tuple[int, list[int]]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    size: int = 0
    depth: int = 0
    bidirectional_span: tuple[int, int] = (0, 0)
    tags: Tags | None = None
    _depths: list[int] = field(default_factory=list, init=False, repr=False)

    @property
    def weight(self) -> float:
        """Of all predictions together."""
        tagged = self.tags.weight * len(self.tags.targets) if self.tags else 0.0
        return sum(self.weights) + tagged

    def extend(self, parent: int, ids: Sequence[int], *, weight: float = 0) -> int:
        """Hang a chain of tokens under a node.

        weight (float): Of the prediction of each of these tokens.
        RETURNS (int): The chain's last token, or the parent of an empty chain.
        """
        if not ids:
            return parent
        if weight:
            for place, target in enumerate(ids, start=self.size - 1):
                self.predict(parent if place < self.size else place, target, weight)
        self.chains.append((parent, list(ids)))
        self.size += len(ids)
        above = 0 if parent == ROOT else self._depths[parent]
        self._depths += range(above + 1, above + len(ids) + 1)
        self.depth = max(self.depth, above + len(ids))
        return self.size - 1

    def predict(self, place: int, target: int, weight: float) -> None:
        """Let the token after `place` be learnt."""
        self.places.append(place)
        self.targets.append(target)
        self.weights.append(weight)


def make_tree(
    gold: GoldText,
    branches: CountBranches,
    *,
    prompt: PromptTokens,
    labels: Mapping[str, str],
    mention_prefix_loss: bool,
) -> TrainingTree:
    """Lay a text's examples out as one tree.

    gold (GoldText): The text and its mentions.
    branches (CountBranches): Its count prompts.
    prompt (PromptTokens): The prompt.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    mention_prefix_loss (bool): Whether `<mention n>` is learnt.
    RAISES (ValueError): If the tokens of a label's prompt depend on its count.
    """
    tree = TrainingTree(bidirectional_span=branches.bidirectional_span)
    root = tree.extend(ROOT, branches.root)
    for (label, name), ids in zip(labels.items(), branches.labels, strict=True):
        end = tree.extend(root, ids)
        mentions = gold.mentions.get(label, ())
        if not mentions:
            *answer, eos = prompt.count_answer(0)
            tree.predict(tree.extend(end, answer, weight=1), eos, 1)
            continue
        count = len(mentions)
        prompts = prompt.mention_branches(gold.text, name, count, count)
        if prompts.keep not in {None, len(branches.root) + len(ids)}:
            template = prompt.prompt.label
            raise ValueError(Errors.P154.format(template=template))
        counted = prompts.stem[: prompts.counted]
        stem = tree.extend(end, counted, weight=count)
        prefix_weight = int(mention_prefix_loss)
        shared = prompts.stem[prompts.counted :]
        stem = tree.extend(stem, shared, weight=count * prefix_weight)
        for mention, prefix in zip(mentions, prompts.mentions, strict=True):
            end = tree.extend(stem, prefix, weight=prefix_weight)
            *answer, eos = prompt.mention_answer(mention)
            tree.predict(tree.extend(end, answer, weight=1), eos, 1)
    return tree


def make_trees(
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
    *,
    mention_prefix_loss: bool,
) -> list[TrainingTree]:
    """The trees of several texts; see `make_tree`."""
    asked = prompt.count_branches([gold.text for gold in golds], list(labels.values()))
    return [
        make_tree(
            gold,
            branches,
            prompt=prompt,
            labels=labels,
            mention_prefix_loss=mention_prefix_loss,
        )
        for gold, branches in zip(golds, asked, strict=True)
    ]


def make_answer_trees(
    form: AnswerFormat,
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
) -> list[TrainingTree]:
    """Training trees: a branch for each prompt of a text, with its answer.

    Each token of an answer, `<eos>` included, weighs 1.
    """
    trees = []
    prompts = form.ask(prompt, [gold.text for gold in golds], labels)
    for gold, branches in zip(golds, prompts, strict=True):
        tree = TrainingTree(bidirectional_span=branches.bidirectional_span)
        root = tree.extend(ROOT, branches.root)
        answers = form.tokens(prompt, gold, labels)
        for ids, (*answer, eos) in zip(branches.labels, answers, strict=True):
            end = tree.extend(root, ids)
            tree.predict(tree.extend(end, answer, weight=1), eos, 1)
        trees.append(tree)
    return trees


_ANSWER_FORMATS = {form.name: form for form in (ONE_STEP, STRUCTURED, AUGMENTED)}


def make_targets(
    output_format: str,
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
    *,
    mention_prefix_loss: bool,
) -> list[TrainingTree]:
    """What a model is trained on to answer a decoder, a tree for each text.

    output_format (str): The decoder's; see `Decoder`.
    prompt (PromptTokens): The prompt, bound to the model's tokenizer.
    golds (Sequence[GoldText]): The texts with their gold mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    mention_prefix_loss (bool): Whether the tokens of `<mention n>` are learnt, if
        there are any.
    RAISES (ValueError): If there are no targets of this format.
    """
    if output_format == COUNTS_AND_MENTIONS:
        return make_trees(
            prompt, golds, labels, mention_prefix_loss=mention_prefix_loss
        )
    if output_format not in _ANSWER_FORMATS:
        known = ", ".join([COUNTS_AND_MENTIONS, *_ANSWER_FORMATS])
        raise ValueError(Errors.P100.format(output_format=output_format, known=known))
    return make_answer_trees(_ANSWER_FORMATS[output_format], prompt, golds, labels)

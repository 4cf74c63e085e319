"""Training targets: gold mentions as token trees with loss weights.

The paper trains on one example for each mention (section 3.2). A tree holds all
examples of a text. Its loss and its gradient are the same, because the weight of a
token is the number of examples that share it.
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
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.token_tree import ROOT


@dataclass(frozen=True, slots=True)
class TagTargets:
    """The tags of a text's tokens; see `add_tags`.

    first (int): Index of the text's first token in the tree.
    targets (list[int]): The tag of each token of the text.
    tag_ids (frozenset[int]): All possible tags.
    weight (float): Loss weight of each token.
    """

    first: int
    targets: list[int]
    tag_ids: frozenset[int]
    weight: float


@dataclass(slots=True)
class TrainingTree:
    """A text's token tree with the tokens to predict.

    chains (list[tuple[int, list[int]]]): Parent and tokens of each chain; tokens are
        numbered in this order.
    positions (list[int]): The tokens after which a token is to be predicted.
    targets (list[int]): The token to predict there.
    weights (list[float]): In how many of the paper's examples the prediction occurs.
    size, depth (int): The number of tokens, in all and on the longest path.
    bidirectional_span (tuple[int, int]): See `TokenTree`.
    tags (TagTargets | None): The tags of the text's tokens, if they are trained too.
    """

    chains: list[tuple[int, list[int]]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    size: int = 0
    depth: int = 0
    bidirectional_span: tuple[int, int] = (0, 0)
    tags: TagTargets | None = None
    _depths: list[int] = field(default_factory=list, init=False, repr=False)

    @property
    def weight(self) -> float:
        """The sum of the weights of all predictions and tags."""
        tagged = self.tags.weight * len(self.tags.targets) if self.tags else 0.0
        return sum(self.weights) + tagged

    def extend(self, parent: int, ids: Sequence[int], *, weight: float = 0) -> int:
        """Append a chain of tokens to a node.

        parent (int): The node, or ROOT.
        ids (Sequence[int]): The tokens.
        weight (float): Loss weight of each of these tokens; 0 if they are given.
        RETURNS (int): The chain's last token, or the parent if the chain is empty.
        """
        if not ids:
            return parent
        if weight:
            for position, target in enumerate(ids, start=self.size - 1):
                after = parent if position < self.size else position
                self.predict(after, target, weight)
        self.chains.append((parent, list(ids)))
        self.size += len(ids)
        above = 0 if parent == ROOT else self._depths[parent]
        self._depths += range(above + 1, above + len(ids) + 1)
        self.depth = max(self.depth, above + len(ids))
        return self.size - 1

    def predict(self, position: int, target: int, weight: float) -> None:
        """Add the prediction of a token.

        position (int): The token that it follows, by its number in `chains`.
        target (int): The token to predict.
        weight (float): Its loss weight.
        """
        self.positions.append(position)
        self.targets.append(target)
        self.weights.append(weight)


def make_mention_tree(
    gold: GoldText,
    counting: CountPrompts,
    *,
    prompt: PromptTokens,
    labels: Mapping[str, str],
    mention_prefix_loss: bool,
) -> TrainingTree:
    """The training examples of a text as one tree.

    gold (GoldText): The text and its mentions.
    counting (CountPrompts): Its count prompts.
    prompt (PromptTokens): The prompt.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    mention_prefix_loss (bool): Whether the loss includes the tokens of `<mention n>`.
    RAISES (ValueError): If the tokens of a label's prompt depend on its count.
    """
    tree = TrainingTree(bidirectional_span=counting.bidirectional_span)
    root = tree.extend(ROOT, counting.root)
    for (label, name), ids in zip(labels.items(), counting.labels, strict=True):
        end = tree.extend(root, ids)
        mentions = gold.mentions.get(label, ())
        if not mentions:
            *answer, eos = prompt.count_answer(0)
            tree.predict(tree.extend(end, answer, weight=1), eos, 1)
            continue
        count = len(mentions)
        prompts = prompt.mention_prompts(gold.text, name, count=count, number=count)
        if prompts.keep not in {None, len(counting.root) + len(ids)}:
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


def make_mention_trees(
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
    *,
    mention_prefix_loss: bool,
) -> list[TrainingTree]:
    """The trees of several texts; see `make_mention_tree`."""
    texts = [gold.text for gold in golds]
    prompts = prompt.count_prompts(texts, list(labels.values()))
    return [
        make_mention_tree(
            gold,
            counting,
            prompt=prompt,
            labels=labels,
            mention_prefix_loss=mention_prefix_loss,
        )
        for gold, counting in zip(golds, prompts, strict=True)
    ]


def make_answer_trees(
    form: AnswerFormat,
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
) -> list[TrainingTree]:
    """The trees of several texts for an answer format: a branch for each prompt.

    Each token of an answer, including `<eos>`, has weight 1.

    form (AnswerFormat): The format.
    prompt, golds, labels: See `make_training_trees`.
    """
    trees = []
    prompts = form.ask(prompt, [gold.text for gold in golds], labels)
    for gold, asked in zip(golds, prompts, strict=True):
        tree = TrainingTree(bidirectional_span=asked.bidirectional_span)
        root = tree.extend(ROOT, asked.root)
        answers = form.tokens(prompt, gold, labels)
        for ids, (*answer, eos) in zip(asked.labels, answers, strict=True):
            end = tree.extend(root, ids)
            tree.predict(tree.extend(end, answer, weight=1), eos, 1)
        trees.append(tree)
    return trees


_ANSWER_FORMATS = {form.name: form for form in (ONE_STEP, STRUCTURED, AUGMENTED)}


def make_training_trees(
    output_format: str,
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
    *,
    mention_prefix_loss: bool,
) -> list[TrainingTree]:
    """The training trees for an output format, one for each text.

    output_format (str): The decoder's output format; see `Decoder`.
    prompt (PromptTokens): The prompt, bound to the model's tokenizer.
    golds (Sequence[GoldText]): The texts with their gold mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    mention_prefix_loss (bool): Whether the loss includes the tokens of `<mention n>`,
        if the format has them.
    RAISES (ValueError): If the output format is unknown.
    """
    if output_format == COUNTS_AND_MENTIONS:
        return make_mention_trees(
            prompt, golds, labels, mention_prefix_loss=mention_prefix_loss
        )
    if output_format not in _ANSWER_FORMATS:
        known = ", ".join([COUNTS_AND_MENTIONS, *_ANSWER_FORMATS])
        raise ValueError(Errors.P100.format(output_format=output_format, known=known))
    return make_answer_trees(_ANSWER_FORMATS[output_format], prompt, golds, labels)

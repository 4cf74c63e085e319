"""The paper's separate training examples, from a training tree (section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_padellm.training.targets import TrainingTree
from spacy_padellm.tree.token_tree import ROOT


def separate_examples(tree: TrainingTree) -> list[TrainingTree]:
    """One example for each mention, and for each label without mentions.

    tree (TrainingTree): The training tree of a text.
    RETURNS (list[TrainingTree]): Trees of a single path, with predictions of weight 1.
        The first one has the tags of the text.
    """
    tokens: list[int] = []
    parents: list[int] = []
    for parent, ids in tree.chains:
        for offset, token in enumerate(ids):
            parents.append(len(tokens) - 1 if offset else parent)
            tokens.append(token)
    predicted = set(zip(tree.positions, tree.targets, strict=True))
    leaves = set(range(len(tokens))) - set(parents)
    # the only prediction after a leaf is the end of the answer
    pairs = [(node, target) for node, target in predicted if node in leaves]
    ends = dict(pairs)
    assert len(pairs) == len(ends) == len(leaves)
    examples = []
    for leaf in sorted(leaves):
        path = _path_to(leaf, parents)
        ids = [tokens[node] for node in path]
        example = TrainingTree(bidirectional_span=tree.bidirectional_span)
        example.extend(ROOT, ids)
        for depth, (node, target) in enumerate(zip(path, ids[1:], strict=False)):
            if (node, target) in predicted:
                example.predict(depth, target, 1)
        example.predict(len(path) - 1, ends[leaf], 1)
        examples.append(example)
    # the text comes before all branches
    examples[0].tags = tree.tags
    return examples


def _path_to(node: int, parents: Sequence[int]) -> list[int]:
    """The nodes from the root of a tree to a node."""
    path = [node]
    while parents[path[-1]] != ROOT:
        path.append(parents[path[-1]])
    return path[::-1]

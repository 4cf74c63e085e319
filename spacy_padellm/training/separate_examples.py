"""The paper's separate training examples, from a training tree (section 3.2)."""

from __future__ import annotations

from spacy_padellm.training.targets import TrainingTree
from spacy_padellm.tree.token_tree import ROOT


def separate_examples(tree: TrainingTree) -> list[TrainingTree]:
    """One example for each mention, and for each label without mentions.

    tree (TrainingTree): The training tree of a text.
    RETURNS (list[TrainingTree]): Trees of a single path, with predictions of weight 1.
    """
    tokens: list[int] = []
    parents: list[int] = []
    for parent, ids in tree.chains:
        for offset, token in enumerate(ids):
            parents.append(len(tokens) - 1 if offset else parent)
            tokens.append(token)
    leaves = set(range(len(tokens))) - set(parents)
    return [_example(tree, tokens, parents, leaf) for leaf in sorted(leaves)]


def _example(
    tree: TrainingTree, tokens: list[int], parents: list[int], leaf: int
) -> TrainingTree:
    path = [leaf]
    while parents[path[-1]] != ROOT:
        path.append(parents[path[-1]])
    path.reverse()
    example = TrainingTree(bidirectional_span=tree.bidirectional_span)
    example.extend(ROOT, [tokens[node] for node in path])
    predicted = set(zip(tree.positions, tree.targets, strict=True))
    for depth, node in enumerate(path[:-1]):
        next_token = tokens[path[depth + 1]]
        if (node, next_token) in predicted:
            example.predict(depth, next_token, 1)
    # the only prediction after a leaf is the end of the answer
    (end,) = (target for node, target in predicted if node == leaf)
    example.predict(len(path) - 1, end, 1)
    return example

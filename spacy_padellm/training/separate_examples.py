"""The paper's separate training examples, from a training tree (section 3.2)."""

from __future__ import annotations

from spacy_padellm.training.targets import TrainingTree
from spacy_padellm.tree.token_tree import ROOT


def unroll(tree: TrainingTree) -> list[TrainingTree]:
    """One example for each label without mention and for each mention.

    RETURNS (list[TrainingTree]): Trees of a single path, whose predictions weigh 1.
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
    example.extend(ROOT, [tokens[place] for place in path])
    predicted = set(zip(tree.places, tree.targets, strict=True))
    for depth, place in enumerate(path[:-1]):
        following = tokens[path[depth + 1]]
        if (place, following) in predicted:
            example.predict(depth, following, 1)
    # the last prediction of a leaf is its end
    (end,) = (t for p, t in predicted if p == leaf)
    example.predict(len(path) - 1, end, 1)
    return example

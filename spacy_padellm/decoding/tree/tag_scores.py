"""The scores of generated mentions and of tagged ones, weighed against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from spacy_padellm.decoding.limits import Cuts
from spacy_padellm.mention.mention import Mention


def share_scores(
    generated: Sequence[Mention],
    tagged: Mapping[str, Sequence[tuple[str, float]]],
    *,
    weight: float,
    max_mentions: int,
    cuts: Cuts,
) -> list[Mention]:
    """Combine generated and tagged mentions.

    generated (Sequence[Mention]): By label, then by index.
    tagged (Mapping[str, Sequence[tuple[str, float]]]): Label -> string and score of
        each tagged mention in text order.
    weight (float): The weight of the tags' scores, in 0..1; the scores of generated
        mentions have the weight 1 - weight. A mention found in only one way scores 0 in
        the other.
    max_mentions (int): Most mentions of one label.
    cuts (Cuts): A label with more mentions is added to it.
    RETURNS (list[Mention]): By label. Mentions that were only tagged follow the others
        of their label. Mentions of labels that are not in `tagged` come last,
        unchanged.
    """
    combined = []
    for label, spans in tagged.items():
        left = list(spans)
        index = 0
        for mention in generated:
            if mention.label != label:
                continue
            index = max(index, mention.index)
            tag_score = _take(left, mention.text.strip())
            score = (1 - weight) * mention.score
            if tag_score is not None:
                score += weight * tag_score
            combined.append(replace(mention, score=score))
        if index < max_mentions:  # else it was noted when it was generated
            cuts.note_count(index + len(left), max_mentions)
        left = left[: max_mentions - index]
        for number, (string, tag_score) in enumerate(left, start=index + 1):
            score = weight * tag_score
            combined.append(Mention(label, number, string, score, by_tags=True))
    return combined + [m for m in generated if m.label not in tagged]


def _take(tagged: list[tuple[str, float]], string: str) -> float | None:
    """Remove the first tagged mention with this string; returns its score, or None."""
    for number, (text, score) in enumerate(tagged):
        if text == string:
            del tagged[number]
            return score
    return None

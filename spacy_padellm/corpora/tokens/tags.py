"""Tags of tokens: IOB1, IOB2, BIOES, BILUO, BMES and IO, also several for a token."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

TAG = re.compile(r"(?:O[|,;/#+])*(?:O|[BIESLUM][-_:]\S.*)")
"""The tags of IOB1, IOB2, BIOES, BILUO and BMES, also several: B-ORG|B-GPE, O|B-GPE."""

LABEL = re.compile(r"[^\W\d_][\w.-]*")
"""A tag of IO, which is the label alone, as Stanford's tools write it."""

BACKWARD = re.compile(r"(.+[-_])?[BIESLUM]")
"""A prefix without a label, or behind it."""

# labels of CoNLL-2000's chunks, which are in a column beside that of the names
CHUNKS = {
    *("NP", "VP", "PP", "ADJP", "ADVP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP"),
    *("NC", "VC", "PC", "NX"),
}


def has_small_tags(values: Collection[str], *, named: bool = False) -> bool:
    """Check whether tags are written in small letters, as b-per, i-per and o.

    values (Collection[str]): The values of a column, or the tags of a sentence.
    named (bool): Whether they are known to be tags of names.
    RETURNS (bool): Whether most of them are. Unless they are known to be tags, "o" is
        among them.
    """
    tags = sum(TAG.fullmatch(capital_tag(value)) is not None for value in values)
    return "O" not in values and (named or "o" in values) and 2 * tags > len(values)


def capital_tag(tag: str) -> str:
    """Write the prefix of a tag as a capital.

    tag (str): A tag such as "b-per" or "o".
    RETURNS (str): The tag, such as "B-per" or "O".
    """
    return tag[:1].upper() + tag[1:]


def split_tag(tag: str) -> list[str]:
    """Split the tag of a token that is in several mentions, such as B-ORG|B-GPE.

    tag (str): The tag.
    RETURNS (list[str]): The tags in it.
    """
    parts = re.split(r"[|,;/#+]", tag)
    return parts if all(map(TAG.fullmatch, parts)) else [tag]


def is_chunks(tags: Collection[str]) -> bool:
    """Check whether tags are those of chunks (noun phrases etc.), not of names.

    tags (Collection[str]): Tags such as "O" and "B-NP".
    RETURNS (bool): Whether all labels are those of chunks.
    """
    labels = {tag[2:] for tag in tags if tag != "O"}
    return bool(labels) and labels <= CHUNKS


def is_bare(tags: Collection[str]) -> bool:
    """Check whether tags are labels without B- and I-.

    tags (Collection[str]): The values of a column.
    RETURNS (bool): Whether they are "O" and labels.
    """
    kinds = set(tags) - {"O"}
    few = len(kinds) <= max(1, len(tags) // 2)
    alone = all(LABEL.fullmatch(x) and not TAG.fullmatch(x) for x in kinds)
    return "O" in tags and few and alone


def decode_tags(tags: list[str]) -> Iterator[tuple[int, int, str]]:
    """Decode the tags of a sentence.

    One rule decodes all schemes: I, M, E and L continue a mention of their label, and
    start one if there is none. spaCy's `iob_to_biluo` would merge broken sequences such
    as "L-PER I-PER".

    tags (list[str]): Well-formed tags such as "O", "B-PER" and "B-ORG|B-GPE".
    YIELDS (tuple[int, int, str]): First token, last token (inclusive) and label.
    """
    open_mentions: list[tuple[int, str]] = []
    for index, tag in enumerate([*tags, "O"]):
        going: list[tuple[int, str]] = []
        ended: list[tuple[int, str]] = []
        for part in split_tag(tag):
            if part == "O":
                continue
            prefix, label = part[0], part[2:]
            mention = index, label
            if prefix in "IMEL":
                same = (old for old in open_mentions if old[1] == label)
                mention = next(same, mention)
            if mention in open_mentions:
                open_mentions.remove(mention)
            (ended if prefix in "SUEL" else going).append(mention)
        for start, label in open_mentions:
            yield start, index - 1, label
        for start, label in ended:
            yield start, index, label
        open_mentions = going

"""Find the texts that are worth annotating next."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.corpora.records import BadLine
from spacy_padellm.suggest.formats import Suggestion
from spacy_padellm.suggest.spread import choose_spread
from spacy_padellm.suggest.texts import SourceText
from spacy_padellm.suggest.usefulness import correction_probability
from spacy_padellm.text.spans import nested_spans
from spacy_padellm.text.stream import STREAM_FROM

# texts to choose from, for each one that is chosen: the most useful ones
POOL = 20


@dataclass(slots=True)
class Suggestions:
    """The chosen texts, and what was read.

    chosen (list[Suggestion]): The most useful one first.
    read (int): The number of texts.
    mean (float): Their mean probability that there is something to correct.
    bad (list[BadLine]): Lines without a text.
    failed (list[Exception]): The errors of texts that could not be decoded.
    """

    chosen: list[Suggestion] = field(default_factory=list)
    read: int = 0
    mean: float = 0.0
    bad: list[BadLine] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)


def suggest(
    nlp: Language, texts: Iterable[SourceText | BadLine], *, n: int
) -> Suggestions:
    """Choose texts that are useful to annotate, and not alike.

    nlp (Language): A pipeline with a `padellm_ner`.
    texts (Iterable[SourceText | BadLine]): The texts, and lines that hold none.
    n (int): How many to choose at most.
    RETURNS (Suggestions): The chosen texts, and what was read. A text that is repeated
        is chosen once.
    """
    result = Suggestions()

    def readable() -> Iterable[tuple[str, SourceText]]:
        for item in texts:
            if isinstance(item, BadLine):
                result.bad.append(item)
            else:
                yield item.text, item

    def keep_error(name: str, proc: Any, docs: list[Doc], error: Exception) -> None:
        result.failed.extend([error] * len(docs))

    with _handling_errors(nlp, keep_error):
        pairs = nlp.pipe(readable(), as_tuples=True, batch_size=STREAM_FROM)
        found = _most_useful(pairs, result, most=POOL * n)
    order = choose_spread([s.text for s in found], [s.score for s in found], n=n)
    result.chosen = [found[index] for index in order]
    return result


def _most_useful(
    pairs: Iterable[tuple[Doc, SourceText]], result: Suggestions, *, most: int
) -> list[Suggestion]:
    """The texts with the highest scores, each once, in the order of the corpus.

    pairs (Iterable[tuple[Doc, SourceText]]): The annotated texts.
    result (Suggestions): Its number of texts and their mean score are set.
    most (int): How many to keep at most.
    """
    pool: list[tuple[float, int, Suggestion]] = []  # a heap, the least useful one first
    pooled: set[str] = set()  # their texts: a repeated one would crowd out others
    total = 0.0
    for number, (doc, source) in enumerate(pairs):
        score = correction_probability(doc)
        total += score
        result.read += 1
        if source.text in pooled:
            continue
        pooled.add(source.text)
        # on a tie the earlier text stays
        entry = (score, -number, _suggestion(doc, score, source))
        if len(pool) < most:
            heapq.heappush(pool, entry)
        else:
            _, _, left_out = heapq.heappushpop(pool, entry)
            pooled.discard(left_out.text)
    result.mean = total / max(result.read, 1)
    pool.sort(key=lambda entry: -entry[1])  # as in the corpus
    return [suggestion for _, _, suggestion in pool]


@contextmanager
def _handling_errors(nlp: Language, handler: Any) -> Iterator[None]:
    """Let a pipeline give failed Docs to a handler, and put back its own ones.

    handler (Any): Takes a component's name, the component, its Docs and the error.
    """
    default = nlp.default_error_handler
    pipes: list[Any] = [pipe for _, pipe in nlp.pipeline]
    own = [
        (pipe, pipe.get_error_handler())
        for pipe in pipes
        if hasattr(pipe, "get_error_handler")
    ]
    nlp.set_error_handler(handler)
    try:
        yield
    finally:
        nlp.set_error_handler(default)
        for pipe, before in own:
            pipe.set_error_handler(before)


def _suggestion(doc: Doc, score: float, source: SourceText) -> Suggestion:
    mentions, nested = (
        [
            (span.start_char, span.end_char, span.label_, span._.padellm_score or 0.0)
            for span in spans
        ]
        for spans in (doc.ents, nested_spans(doc))
    )
    return Suggestion(source.text, mentions, score, source.meta, nested)

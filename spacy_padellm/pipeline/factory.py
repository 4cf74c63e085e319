"""The factory `padellm_ner`: from a config to the component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_padellm.pipeline.defaults import DEFAULT_CONFIG, DEFAULT_SCORE_WEIGHTS
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.pipeline.validation import check_config_labels
from spacy_padellm.text.windows import default_span_getter


@Language.factory(
    "padellm_ner",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config=DEFAULT_CONFIG,
    default_score_weights=DEFAULT_SCORE_WEIGHTS,
)
def make_padellm_ner(
    nlp: Language,
    name: str,
    model: Any,
    labels: dict[str, str | dict[str, str]],
    prompt: Any,
    decoder: Any,
    span_getter: Callable[[list[Doc]], list[list[Span]]] | None,
    training: Any,
    scorer: Callable[..., dict[str, Any]] | None,
    spans_key: str,
    threshold: float | dict[str, float] | None,
    dedup: str,
    alignment_mode: str,
    existing: str,
) -> PaDeLLMNER:
    """Make the component; see `PaDeLLMNER`."""
    check_config_labels(name, labels=labels, threshold=threshold)
    return PaDeLLMNER(
        nlp.vocab,
        model,
        name=name,
        labels=labels,
        prompt=prompt,
        decoder=decoder,
        span_getter=span_getter or default_span_getter(nlp.lang or ""),
        training=training,
        scorer=scorer,
        spans_key=spans_key,
        threshold=threshold,
        dedup=dedup,
        alignment_mode=alignment_mode,
        existing=existing,
    )

"""The factory `padellm_ner`, and the defaults of the component's config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spacy.language import Language

from spacy_padellm.factory_name import FACTORY
from spacy_padellm.pipeline.blocks import check_blocks
from spacy_padellm.pipeline.colors import displacy_colors
from spacy_padellm.pipeline.merging import note_pipeline
from spacy_padellm.pipeline.move_spans import make_move_spans
from spacy_padellm.pipeline.validation import check_config_labels
from spacy_padellm.text.span_getters import default_span_getter

if TYPE_CHECKING:
    from spacy_padellm.pipeline.pipe import PaDeLLMNER

__all__ = ["displacy_colors", "make_move_spans", "make_padellm_ner"]

DEFAULT_SCORE_WEIGHTS = {
    "ents_f": 1.0,
    "ents_p": 0.0,
    "ents_r": 0.0,
    "ents_per_type": None,
    "strings_f": 0.0,
    "strings_p": 0.0,
    "strings_r": 0.0,
    "strings_per_type": None,
}
DEFAULT_CONFIG: dict[str, Any] = {
    "model": {
        "@architectures": "spacy-padellm.CausalLM.v1",
        "name": "bundled-en",
        "revision": None,
        "dtype": "auto",
        "device": "auto",
        "trust_remote_code": False,
        "lora": None,
        "quantization_config": None,
        "device_map": None,
        "fused_layers": True,
    },
    "labels": None,  # or keys that are no strings would be an error of confection
    "prompt": None,
    "decoder": {
        "@misc": "spacy-padellm.TreeDecoder.v1",
        "max_mentions": 32,
        "max_mention_tokens": 64,
        "max_batch_tokens": None,
        "draft_tokens": 4,
        "min_count_probability": 0.3,
        "from_text": True,
        "tag_weight": 0.5,
        "sure_tag_probability": 0.7,
        "cuda_graphs": False,
        "devices": [],
    },
    "span_getter": None,
    "training": {
        "@misc": "spacy-padellm.Training.v1",
        "mention_prefix_loss": True,
        "max_batch_tokens": 4096,
        "gradient_checkpointing": False,
        "muon": False,
        "tag_loss": None,
        "quantized": None,
    },
    "scorer": {"@scorers": "spacy-padellm.NerScorer.v1", "spans_key": "padellm"},
    "spans_key": "padellm",
    "threshold": None,
    "dedup": "on",
    "alignment_mode": "expand",
    "existing": "overwrite",
    "layout": "split",
    "alternatives": False,
    "document_memory": True,
}


@Language.factory(
    FACTORY,
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config=DEFAULT_CONFIG,
    default_score_weights=DEFAULT_SCORE_WEIGHTS,
)
def make_padellm_ner(
    nlp: Language,
    name: str,
    model: Any,
    labels: Any,
    prompt: Any,
    decoder: Any,
    span_getter: Any,
    training: Any,
    scorer: Any,
    spans_key: Any,
    threshold: Any,
    dedup: Any,
    alignment_mode: Any,
    existing: Any,
    layout: Any,
    alternatives: Any,
    document_memory: Any,
) -> PaDeLLMNER:
    """Make the component; see `PaDeLLMNER`, which checks the settings."""
    # here, as spaCy imports the factories of all packages for any pipeline
    from spacy_padellm.pipeline.pipe import PaDeLLMNER

    check_blocks(
        name,
        model=model,
        prompt=prompt,
        decoder=decoder,
        span_getter=span_getter,
        training=training,
        scorer=scorer,
    )
    labels = check_config_labels(name, labels=labels, threshold=threshold)
    pipe = PaDeLLMNER(
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
        layout=layout,
        alternatives=alternatives,
        document_memory=document_memory,
    )
    return note_pipeline(pipe, nlp)

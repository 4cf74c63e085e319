"""What the component is when its config says nothing else."""

from __future__ import annotations

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
DEFAULT_CONFIG = {
    "model": {
        "@architectures": "spacy-padellm.CausalLM.v1",
        "name": "bundled-en",
        "revision": None,
        "dtype": "auto",
        "device": "auto",
        "trust_remote_code": False,
        "lora": None,
    },
    "labels": {},
    "prompt": None,
    "decoder": {
        "@misc": "spacy-padellm.TreeDecoder.v1",
        "max_mentions": 32,
        "max_mention_tokens": 64,
        "max_batch_tokens": 1024,
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
    },
    "scorer": {"@scorers": "spacy-padellm.NerScorer.v1", "spans_key": "padellm"},
    "spans_key": "padellm",
    "threshold": None,
    "dedup": "on",
    "alignment_mode": "expand",
    "existing": "overwrite",
}

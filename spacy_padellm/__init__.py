"""Named-entity recognition with fine-tuned large language models, as a spaCy pipe."""

__version__ = "0.1.0"

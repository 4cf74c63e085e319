"""The component as spaCy sees it."""

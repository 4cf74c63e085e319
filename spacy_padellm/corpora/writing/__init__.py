"""Annotated Docs from records: tokenizers, and mentions without loss."""

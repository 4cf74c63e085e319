"""Annotating corpora that outgrow one process: shards, workers, Ray."""

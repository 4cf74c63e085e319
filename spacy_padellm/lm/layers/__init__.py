"""The layers of well-known models, run with fewer and faster operations."""

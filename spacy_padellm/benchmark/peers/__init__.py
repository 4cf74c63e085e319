"""Peers that the decoders are compared with: vLLM and spaCy's pipes."""

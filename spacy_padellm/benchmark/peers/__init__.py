"""What the decoders are compared with: other engines and spaCy's own pipes."""

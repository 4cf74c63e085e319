"""The files of models: bundled, on the hub, in a GGUF file, or as bytes."""

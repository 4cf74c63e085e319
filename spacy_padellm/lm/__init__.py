"""The language model: how it is found, loaded, run and saved."""

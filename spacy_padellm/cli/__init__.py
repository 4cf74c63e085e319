"""The commands of `python -m spacy padellm`."""

"""Conversion of NER data formats to spaCy's `.spacy`; `spacy.Corpus.v1` reads it."""

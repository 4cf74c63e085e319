"""Convert NER data to `.spacy` files, which `spacy.Corpus.v1` reads."""

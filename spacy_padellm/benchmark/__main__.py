"""`python -m spacy_padellm.benchmark`: the benchmark where spaCy is not installed."""

import sys

from spacy_padellm.benchmark.run import main

sys.exit(main(sys.argv[1:], prog="python -m spacy_padellm.benchmark"))

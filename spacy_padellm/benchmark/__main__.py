"""`python -m spacy_padellm.benchmark`: the benchmark, also without spaCy."""

import sys

from spacy_padellm.benchmark.run import main

sys.exit(main(sys.argv[1:], prog="python -m spacy_padellm.benchmark"))

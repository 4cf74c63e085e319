"""What a document's memory changes: the same predictions with it and without.

    python -m benchmarks.document_memory corpus/conll03_dev.spacy \
        --documents corpus/ewt_dev.spacy=assets/en/en_ewt-ud-dev.iob2 --json OUT.json

Corpora are sentences: 20 at a time make a Doc. `--documents CORPUS=SOURCE` joins the
sentences of a document instead, by the `# newdoc` lines of the CoNLL-U file that the
corpus was converted from. Only PER, LOC and ORG count.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from benchmarks.quality import read_gold_docs
from spacy_padellm.benchmark.subjects.pipelines import SPANS_KEY
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.pipeline.bundled import load_pipeline
from spacy_padellm.pipeline.scorer import ner_score

TOGETHER = 20  # sentences of a Doc
LABELS = {"PER", "LOC", "ORG"}
NAMES = {"person": "PER", "location": "LOC", "group": "ORG", "corporation": "ORG"}
BATCH = 16  # Docs


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", type=Path)
    parser.add_argument("--documents", nargs="*", default=[], metavar="CORPUS=SOURCE")
    parser.add_argument("--model", default="bundled-en")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    nlp = load_pipeline(options.model)
    corpora = dict.fromkeys(options.corpora)
    for pair in options.documents:
        corpus, source = pair.split("=", 1)
        corpora[Path(corpus)] = document_sizes(Path(source))
    results = {}
    for path, sizes in corpora.items():
        sentences = list(read_gold_docs(nlp, path, labels=LABELS, names=NAMES))
        golds = list(join(sentences, sizes or [TOGETHER] * len(sentences)))
        results[path.stem] = result = compare(nlp, golds)
        print(path.stem, json.dumps(result), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf8")


def document_sizes(source: Path) -> list[int]:
    """The number of sentences of each document of a CoNLL-U file."""
    sizes: list[int] = []
    for line in source.read_text("utf8").splitlines():
        if line.startswith("# newdoc"):
            sizes.append(0)
        elif line.startswith("# sent_id"):
            sizes[-1] += 1
    return sizes


def join(sentences: Sequence[Doc], sizes: Sequence[int]) -> Iterator[Doc]:
    """Join the sentences of each document to a Doc."""
    start = 0
    for size in sizes:
        together = sentences[start : start + size]
        start += size
        if together:
            joined = Doc.from_docs(list(together))
            assert joined is not None
            yield joined


def compare(nlp: Language, golds: Sequence[Doc]) -> dict[str, Any]:
    """Precision, recall and F1 without and with a memory."""
    pipe: Any = nlp.get_pipe(FACTORY)
    examples: dict[bool, list[Example]] = {False: [], True: []}
    for start in range(0, len(golds), BATCH):
        batch = golds[start : start + BATCH]
        predictions = pipe.predict([nlp.make_doc(gold.text) for gold in batch])
        for memory, made in examples.items():
            pipe.cfg["document_memory"] = memory
            for gold, prediction in zip(batch, predictions, strict=True):
                doc = nlp.make_doc(gold.text)
                pipe.set_annotations([doc], [prediction])
                doc.set_ents([ent for ent in doc.ents if ent.label_ in LABELS])
                made.append(Example(doc, gold))
    return {
        "on" if memory else "off": {
            key: round(scores[f"ents_{key}"], 4) for key in ("p", "r", "f")
        }
        for memory, made in examples.items()
        for scores in [ner_score(made, spans_key=SPANS_KEY)]
    }


if __name__ == "__main__":
    main()

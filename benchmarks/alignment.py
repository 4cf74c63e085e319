"""How many gold mentions alignment puts back in their place.

A perfect model generates each gold mention as a string with its index. This script
aligns these strings to the text, annotates `doc.spans`, and compares the spans with the
gold mentions, including nested ones.

    python -m benchmarks.alignment LANG CORPUS.spacy [LANG CORPUS.spacy ...] --json OUT
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc
from wasabi import msg

from spacy_padellm.benchmark.subjects.pipelines import (
    SPANS_KEY,
    gold_mentions,
    read_corpus,
)
from spacy_padellm.mention.mention import Mention
from spacy_padellm.text.doc_mentions import align_mentions
from spacy_padellm.text.span_getters import make_doc_spans
from spacy_padellm.text.windows import make_windows
from spacy_padellm.text.write_mentions import write_mentions


def perfect_mentions(doc: Doc) -> list[Mention]:
    """The gold mentions as a perfect model generates them, without offsets."""
    counts: dict[str, int] = {}
    mentions = []
    for span in gold_mentions(doc):
        counts[span.label_] = index = counts.get(span.label_, 0) + 1
        mentions.append(Mention(span.label_, index, span.text, 1.0))
    return mentions


def measure(lang: str, path: Path) -> dict[str, Any]:
    """Count the gold mentions that are recovered, and the nested ones among them."""
    result = {"docs": 0, "gold": 0, "kept": 0, "nested": 0, "nested_kept": 0}
    for gold in read_corpus(path, spacy.blank(lang).vocab):
        doc = gold.copy()
        doc.spans.pop(SPANS_KEY, None)
        windows = make_windows([doc], make_doc_spans(), name=SPANS_KEY)
        mentions = perfect_mentions(gold)
        (found,) = align_mentions(
            [doc], windows, [mentions] * len(windows), dedup="off"
        )
        write_mentions(
            doc,
            found,
            spans_key=SPANS_KEY,
            alignment_mode="expand",
            lowest_score=lambda label: 0.0,
            existing="overwrite",
        )
        gold_spans = {(s.start, s.end, s.label_) for s in gold_mentions(gold)}
        nested = {
            a
            for a in gold_spans
            if any(a != b and b[0] <= a[0] and a[1] <= b[1] for b in gold_spans)
        }
        kept = gold_spans & {(s.start, s.end, s.label_) for s in doc.spans[SPANS_KEY]}
        result["docs"] += 1
        result["gold"] += len(gold_spans)
        result["kept"] += len(kept)
        result["nested"] += len(nested)
        result["nested_kept"] += len(nested & kept)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+", metavar="LANG CORPUS")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    pairs = zip(args.corpora[::2], args.corpora[1::2], strict=True)
    results = {Path(path).stem: measure(lang, Path(path)) for lang, path in pairs}
    rows = [
        (name, *(r[k] for k in ("docs", "gold", "kept", "nested", "nested_kept")))
        for name, r in results.items()
    ]
    header = ("corpus", "docs", "gold mentions", "kept", "nested", "nested kept")
    msg.table(rows, header=header, divider=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", "utf8")


if __name__ == "__main__":
    main()

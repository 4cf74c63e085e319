"""Annotate English text with the bundled model, and write it as an HTML page.

python scripts/demo.py [TEXT ...] [--page FILE.html]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import spacy
from wasabi import msg

from spacy_padellm.show.render import displacy_data, render_html
from spacy_padellm.writable import write_whole

TEXTS = [
    "Angela Merkel met Emmanuel Macron in Berlin.",
    "Neil Armstrong and Buzz Aldrin walked on the Moon in July 1969, while Michael "
    "Collins stayed in orbit. NASA had sent them from Florida.",
    "The European Central Bank in Frankfurt kept its rates unchanged on Thursday. "
    "Christine Lagarde said that growth in Germany and Italy remains weak.",
    "Marie Curie was born in Warsaw and studied in Paris. She is the only person "
    "with Nobel Prizes in two sciences.",
    "Brazil beat Italy 4-1 in the final of the 1970 World Cup in Mexico City, with "
    "goals by Pele, Gerson, Jairzinho and Carlos Alberto.",
    "There was nothing new to report.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    parser.add_argument("--page", type=Path, help="the file of a displaCy page")
    args = parser.parse_args()
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner")
    texts = args.texts or TEXTS
    nlp("The first text loads the model.")
    start = time.perf_counter()
    docs = list(nlp.pipe(texts))
    milliseconds = 1000 * (time.perf_counter() - start)
    for doc in docs:
        msg.divider(doc.text if len(doc.text) < 72 else doc.text[:71] + "…", char="-")
        rows = [(e.text, e.label_, f"{e._.padellm_score:.2f}") for e in doc.ents]
        if rows:
            msg.table(rows, header=("entity", "label", "score"), divider=True)
        else:
            msg.text("no entities")
    words = sum(map(len, docs))
    pipe: Any = nlp.get_pipe("padellm_ner")
    device = pipe.handle.lm().device
    msg.good(f"{len(docs)} texts, {words} words in {milliseconds:.0f} ms on {device}")
    if args.page:
        found = [doc for doc in docs if doc.ents]
        data = [displacy_data(doc, labels=pipe.labels) for doc in found]
        html = render_html(data, page=True)
        write_whole(args.page, html.encode())
        msg.good(f"Page written to {args.page}")


if __name__ == "__main__":
    main()

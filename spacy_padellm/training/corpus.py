"""A corpus for training a model further: what it does not annotate is not unlearnt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.corpus import Corpus, JsonlCorpus, PlainTextCorpus
from spacy.util import registry
from wasabi import msg

from spacy_padellm.errors import Errors
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.text.corpus_files import corpus_suffixes
from spacy_padellm.text.labels import LABELS_KEY
from spacy_padellm.text.spans import gold_spans
from spacy_padellm.text.stream import STREAM_FROM

_READERS: dict[str, Callable[[Path], Callable[[Language], Iterable[Example]]]] = {
    ".txt": PlainTextCorpus,
    ".jsonl": JsonlCorpus,
    ".spacy": Corpus,
}


def make_corpus(
    path: Path | None,
    *,
    old_texts: Path | str | None = None,
    component: str = FACTORY,
) -> Callable[[Language], Iterable[Example]]:
    """`spacy-padellm.Corpus.v1`: a corpus, and texts that keep what a model can.

    A label of the component that no text of the corpus has is taken for not annotated:
    these texts are not trained or scored on it. (Docs that set their own labels keep
    them.) The old texts are trained on all labels. Their mentions are those that the
    component finds before it is trained, so they have none of a new label.

    path (Path | None): A `.spacy` file of gold Docs, or a folder of them.
    old_texts (Path | str | None): Texts like those that the model was trained on: a
        file or folder of `.txt` (one text per line), `.jsonl` (with `text`) or
        `.spacy`.
    component (str): The component's name.
    RETURNS (Callable): Reads the examples of a pipeline. It raises a ValueError if it
        finds no old texts.
    """
    read_examples = registry.readers.get("spacy.Corpus.v1")(path, gold_preproc=False)
    rehearsed: list[Doc] = []

    def read(nlp: Language) -> Iterator[Example]:
        pipe: Any = nlp.get_pipe(component)
        key = pipe.cfg["spans_key"]
        examples = list(read_examples(nlp))
        _set_own_labels([eg.reference for eg in examples], pipe.labels, key)
        if old_texts is not None and not rehearsed:  # before any example is trained on
            # a config gives it as a string
            texts = _read_texts(nlp, Path(old_texts))
            rehearsed.extend(_rehearse(nlp, pipe, texts))
            mentions = sum(len(doc.spans[key]) for doc in rehearsed)
            msg.info(f"Old texts: {len(rehearsed)}, with {mentions} mentions found")
        yield from examples
        for doc in rehearsed:
            yield Example(nlp.make_doc(doc.text), doc)

    return read


def _set_own_labels(docs: list[Doc], known: Iterable[str], spans_key: str) -> None:
    """Set the labels that a corpus annotates, if it has not all of the component's.

    Unknown labels are left to the component, which reports them.
    """
    docs = [doc for doc in docs if doc.user_data.get(LABELS_KEY) is None]
    golds = [gold_spans(doc, spans_key) or [] for doc in docs]
    found = {span.label_ for gold in golds for span in gold}
    if found and found < set(known):
        for doc in docs:
            doc.user_data[LABELS_KEY] = sorted(found)


def _rehearse(nlp: Language, pipe: Any, texts: list[str]) -> Iterator[Doc]:
    """The texts with the mentions of the component's labels that the model was trained
    on, or of all its labels if the model does not say what it was trained on."""
    labels = list(pipe.learnt_labels) if pipe.model_labels else None
    docs = [nlp.make_doc(text) for text in texts]
    for doc in docs:
        doc.user_data[LABELS_KEY] = labels
    for doc in pipe.pipe(docs, batch_size=STREAM_FROM):
        del doc.user_data[LABELS_KEY]
        yield doc


def _read_texts(nlp: Language, path: Path) -> list[str]:
    try:
        suffixes = corpus_suffixes(path) if path.exists() else set()
        texts = [
            example.reference.text
            for suffix, reader in _READERS.items()
            if suffix in suffixes
            for example in reader(path)(nlp)
        ]
    except KeyError as error:
        found = f"a line has no key {error}"
        raise ValueError(Errors.P721.format(path=path, error=found)) from error
    except Exception as error:  # spaCy's readers raise any kind for a broken file
        raise ValueError(Errors.P721.format(path=path, error=error)) from error
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise ValueError(Errors.P265.format(path=path))
    return texts

"""The input of an analysis: the pipeline and the gold Docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc, DocBin

from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.options import AnalysisError
from spacy_padellm.checks import check_path
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.pipeline.bundled import load_pipeline
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.text.labels import get_doc_labels
from spacy_padellm.text.spans import gold_spans, other_keys_remedy


@dataclass(frozen=True, slots=True)
class GoldDoc:
    """A text with its gold mentions.

    text (str): The text.
    mentions (Sequence[GoldMention]): The mentions, with character offsets.
    own_labels (frozenset[str] | None): The labels that are annotated in this text; None
        are those of the corpus.
    """

    text: str
    mentions: Sequence[GoldMention]
    own_labels: frozenset[str] | None = None

    def annotates(self, label: str) -> bool:
        """Whether mentions of the label are annotated in this text."""
        return self.own_labels is None or label in self.own_labels


@dataclass(slots=True)
class GoldCorpus:
    """The annotated Docs of a corpus.

    docs (list[GoldDoc]): The Docs.
    skipped (int): The number of Docs left out because they are not or only partly
        annotated.
    other_labels (Counter[str]): The number of mentions left out, by label.
    """

    docs: list[GoldDoc] = field(default_factory=list)
    skipped: int = 0
    other_labels: Counter[str] = field(default_factory=Counter)


def load_for_analysis(name: str) -> tuple[Language, PaDeLLMNER]:
    """Load a pipeline and its model, for a command that looks at one component.

    name (str): A bundled model such as "bundled-en", a pipeline folder or a package.
    RETURNS (tuple[Language, PaDeLLMNER]): The pipeline and its first `padellm_ner`; a
        warning names the others.
    RAISES (AnalysisError): If the pipeline cannot be loaded or has no `padellm_ner`.
    """
    nlp, pipes = load_with_components(name)
    first, *others = (pipe.name for pipe in pipes)
    if others:
        logger.warning(Warnings.W966.format(first=first, others=", ".join(others)))
    return nlp, pipes[0]


def load_with_components(name: str) -> tuple[Language, list[PaDeLLMNER]]:
    """Load a pipeline and its models.

    name (str): A bundled model such as "bundled-en", a pipeline folder or a package.
    RETURNS (tuple[Language, list[PaDeLLMNER]]): The pipeline and each `padellm_ner`
        that runs in it, one at least.
    RAISES (AnalysisError): If the pipeline cannot be loaded or has no `padellm_ner`.
    """
    try:
        nlp = load_pipeline(name)
        pipes = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, PaDeLLMNER)]
        if not pipes:
            known = ", ".join(nlp.pipe_names) or "none"
            raise AnalysisError(Errors.P190.format(name=name, known=known))
        nlp("The first text loads the model .")
    except (OSError, ValueError) as error:
        raise AnalysisError(str(error)) from error
    return nlp, pipes


def read_gold_corpus(
    path: Path,
    nlp: Language,
    *,
    labels: Sequence[str],
    names: Mapping[str, str],
    spans_key: str,
    limit: int | None,
) -> GoldCorpus:
    """Read the gold Docs of a corpus.

    path (Path): A `.spacy` file.
    nlp (Language): The pipeline, whose vocab is used.
    labels (Sequence[str]): The labels to keep. A Doc with labels of its own keeps no
        others than these.
    names (Mapping[str, str]): Label of the corpus -> label of the pipe.
    spans_key (str): The key of `doc.spans` with the mentions; Docs without it use
        `doc.ents`.
    limit (int | None): The maximum number of annotated Docs; None for all.
    RAISES (AnalysisError): If the file cannot be read, or no Doc is annotated.
    RAISES (ValueError): If a Doc's own list of labels is malformed.
    """
    check_there(path)
    corpus = GoldCorpus()
    docs = _docs(path, nlp)
    for doc in docs:
        spans = gold_spans(doc, spans_key)
        if spans is None:
            corpus.skipped += 1
            continue
        doc_labels = get_doc_labels(doc)
        annotated = None
        if doc_labels is not None:
            annotated = frozenset(names.get(label, label) for label, _ in doc_labels)
        mentions = set()
        for span in spans:
            label = names.get(span.label_, span.label_)
            if label in labels and (annotated is None or label in annotated):
                mentions.add(GoldMention(span.start_char, span.end_char, label))
            else:
                corpus.other_labels[label] += 1
        corpus.docs.append(GoldDoc(doc.text, sorted(mentions), annotated))
        if len(corpus.docs) == limit:
            break
    if not corpus.docs:
        raise unannotated_error(path, docs, spans_key)
    return corpus


def check_there(path: Path, *, folders: bool = False) -> None:
    """Check that there is a file with gold annotation.

    path (Path): The file.
    folders (bool): Whether it may be a folder.
    RAISES (AnalysisError): If there is none, or it may not be read.
    """
    try:
        check_path(path)
        is_there = path.is_file() or (folders and path.is_dir())
    except OSError as error:  # it is in a folder that may not be read
        raise AnalysisError(
            Errors.P192.format(path=path, error=words_of(error))
        ) from error
    if not is_there:
        is_special = path.exists() and not path.is_dir()
        message = Errors.P426 if is_special else Errors.P191
        raise AnalysisError(message.format(path=path))


def unannotated_error(path: Path, docs: Sequence[Doc], spans_key: str) -> AnalysisError:
    """The error about a corpus without gold annotation.

    path (Path): Its file.
    docs (Sequence[Doc]): Its Docs.
    spans_key (str): The key of `doc.spans` that was looked for.
    """
    remedy = other_keys_remedy(key for doc in docs for key in doc.spans)
    message = Errors.P193.format(
        path=path, docs=len(docs), key=spans_key, remedy=remedy
    )
    return AnalysisError(message)


def check_shared_labels(
    corpus: GoldCorpus, labels: Sequence[str], *, path: Path
) -> None:
    """Check that a corpus has mentions, if all it has are of other labels.

    corpus (GoldCorpus): The corpus.
    labels (Sequence[str]): The labels of the pipe, or those to analyse.
    path (Path): The file of the corpus.
    RAISES (AnalysisError): If all its mentions were left out.
    """
    if corpus.other_labels and not any(doc.mentions for doc in corpus.docs):
        raise AnalysisError(Errors.P198.format(path=path, known=", ".join(labels)))


def exclusion_notes(corpus: GoldCorpus) -> list[str]:
    """Notes for the user on the Docs and mentions that were left out.

    corpus (GoldCorpus): The corpus.
    """
    notes = []
    if corpus.skipped:
        notes.append(Warnings.W190.format(n=corpus.skipped))
    if corpus.other_labels:
        others = ", ".join(f"{label} ({n})" for label, n in corpus.other_labels.items())
        notes.append(Warnings.W191.format(labels=others))
    return notes


def _docs(path: Path, nlp: Language) -> list[Doc]:
    try:
        return list(DocBin().from_disk(path).get_docs(nlp.vocab))
    except Exception as error:  # a broken file can raise errors of many libraries
        if path.suffix != ".spacy":
            raise AnalysisError(Errors.P724.format(path=path)) from error
        raise AnalysisError(
            Errors.P192.format(path=path, error=words_of(error))
        ) from error

"""Uses of spaCy that its documentation does not promise."""

from __future__ import annotations

import inspect
import sys
from typing import Any


def is_under_spacy_train() -> bool:
    """Whether `spacy train`, or the function behind it, runs in this thread.

    Seen on spaCy 3.8: a component that is initialized is not told what for.
    """
    train = getattr(sys.modules.get("spacy.cli.train"), "train", None)
    code, frame = getattr(train, "__code__", None), inspect.currentframe()
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def is_made_from_config() -> bool:
    """Whether a pipeline is being made from its config, perhaps from a saved one.

    Seen on spaCy 3.8.18: a factory is called alike by `Language.from_config`, after
    which weights may be loaded from a folder or from bytes, and by `add_pipe`.
    """
    frame = inspect.currentframe()
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if (module, frame.f_code.co_name) == ("spacy.language", "from_config"):
            return True
        frame = frame.f_back
    return False


def doc_context(doc: Any) -> Any:
    """The context of a Doc inside of `nlp.pipe(..., as_tuples=True)`.

    Seen on spaCy 3.8.18. Error handlers are given Docs without their contexts.

    doc (spacy.tokens.Doc): The Doc.
    """
    return doc._context

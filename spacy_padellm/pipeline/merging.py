"""The warning of later components that merge or split tokens."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeAlias, TypeVar
from weakref import WeakSet

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.errors import Warnings, logger

_MERGE = {"merge_entities", "merge_noun_chunks", "merge_subtokens", "token_splitter"}
_MOVE = "padellm_move_spans"
_Pipe: TypeAlias = Callable[[Doc], Doc]
_P = TypeVar("_P", bound=_Pipe)
# no attribute of the components, as they are pickled and copied
_to_warn_of: WeakSet[_Pipe] = WeakSet()


def note_component(pipe: _P) -> _P:
    """Note a component for `warn_of_merging`.

    pipe (Callable[[Doc], Doc]): The component.
    RETURNS (Callable[[Doc], Doc]): The same component.
    """
    _to_warn_of.add(pipe)
    return pipe


def forget_components(nlp: Language) -> None:
    """Let no component of a pipeline be warned of: its spans are moved, or not read.

    nlp (Language): The pipeline.
    """
    for _, pipe in nlp.components:
        _to_warn_of.discard(pipe)


def warn_of_merging(pipe: _Pipe, *, name: str, spans_key: str) -> None:
    """Warn once of a later component that leaves a component's spans behind.

    pipe (Callable[[Doc], Doc]): The component, which is about to annotate.
    name (str): Its name.
    spans_key (str): The key of its spans.
    """
    nlp = _running_pipeline(pipe) if pipe in _to_warn_of else None
    if nlp is None:
        return
    later: list[str] = []
    for other_name, other in reversed(nlp.pipeline):
        factory = nlp.get_pipe_meta(other_name).factory
        if other is pipe or factory == _MOVE:
            break
        if factory in _MERGE:
            later.append(other_name)
    if later:
        _to_warn_of.discard(pipe)
        message = Warnings.W785.format(name=name, key=spans_key, merging=later[0])
        logger.warning(message)


def _running_pipeline(pipe: _Pipe) -> Language | None:
    """The pipeline that calls a component.

    It need not be the one that the component was made for, as components are taken over
    from other pipelines (`nlp.add_pipe(..., source=...)`).
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Language):
            known = any(other is pipe for _, other in caller.pipeline)
            return caller if known else None
        frame = frame.f_back
    return None

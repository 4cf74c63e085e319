"""The warning of later components that merge or split tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.errors import Warnings, logger

_MERGE = {"merge_entities", "merge_noun_chunks", "merge_subtokens", "token_splitter"}
_MOVE = "padellm_move_spans"
_Pipe: TypeAlias = Callable[[Doc], Doc]
_P = TypeVar("_P", bound=_Pipe)
# of components that were not warned of; not in them, as they are pickled and copied
_pipelines: WeakKeyDictionary[_Pipe, ReferenceType[Language]] = WeakKeyDictionary()


def note_pipeline(pipe: _P, nlp: Language) -> _P:
    """Note the pipeline of a component for `warn_of_merging`.

    pipe (Callable[[Doc], Doc]): The component.
    nlp (Language): The pipeline that it is made for.
    RETURNS (Callable[[Doc], Doc]): The same component.
    """
    _pipelines[pipe] = ref(nlp)
    return pipe


def forget_pipeline(nlp: Language) -> None:
    """Let no component of a pipeline be warned of: its spans are moved, or not read.

    nlp (Language): The pipeline.
    """
    for pipe in [pipe for pipe, noted in _pipelines.items() if noted() is nlp]:
        del _pipelines[pipe]


def warn_of_merging(pipe: _Pipe, *, name: str, spans_key: str) -> None:
    """Warn once of a later component that leaves a component's spans behind.

    pipe (Callable[[Doc], Doc]): The component, which is about to annotate.
    name (str): Its name.
    spans_key (str): The key of its spans.
    """
    noted = _pipelines.get(pipe)
    nlp = noted() if noted else None
    if nlp is None or not any(own is pipe for _, own in nlp.pipeline):
        return  # it is called by hand: what comes later is not known
    later: list[str] = []
    for other_name, other in reversed(nlp.pipeline):
        factory = nlp.get_pipe_meta(other_name).factory
        if other is pipe or factory == _MOVE:
            break
        if factory in _MERGE:
            later.append(other_name)
    if later:
        del _pipelines[pipe]
        message = Warnings.W785.format(name=name, key=spans_key, merging=later[0])
        logger.warning(message)

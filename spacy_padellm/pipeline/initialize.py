"""Initialize a component: its labels, and a model from scratch, also once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from spacy.training import Example

from spacy_padellm.errors import Warnings, logger
from spacy_padellm.pipeline.task import Task
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.text.gold import collect_texts, gold_labels
from spacy_padellm.text.normalize import normalize_text
from spacy_padellm.training.thinc_model import TreeModel, get_handle
from spacy_padellm.training.update import make_from_scratch

_FIRST_TEXTS = 100  # that spaCy initializes with if max_epochs is -1


def initialize_task(
    task: Task,
    get_examples: Callable[[], Iterable[Example]],
    *,
    model: TreeModel,
    name: str,
    spans_key: str,
    streamed: bool = False,
) -> None:
    """Take the labels of the examples, and create the model if it is one from scratch.

    One that this process made before is made anew, as spaCy's components are.

    task (Task): The component's task. It keeps its labels if it has any.
    get_examples (Callable[[], Iterable[Example]]): Returns examples of the training
        data.
    model (TreeModel): The component's model.
    name (str): The component's name.
    spans_key (str): Key of the span group in `doc.spans` with nested mentions.
    streamed (bool): Whether the config lets spaCy show only the first texts here. Warns
        if they are the vocabulary of a model from scratch.
    RAISES (ValueError): If there are no labels, or the examples have others.
    """
    texts: list[str] = []
    found_labels = gold_labels(
        collect_texts(get_examples(), texts),
        name=name,
        known=tuple(task.labels),
        spans_key=spans_key,
        resolve_labels=task.resolve_labels,
    )
    task.expect_labels(found_labels)
    if not task.labels:
        task.set_labels(dict(sorted(found_labels.items())))
    handle = get_handle(model)
    if handle.empty or handle.made_here:
        if task.prompt is None:
            task.prompt = PRESETS["compact"]
        prompt = task.require_prompt()
        names = {**found_labels, **task.labels}.values()
        if streamed and len(texts) == _FIRST_TEXTS:
            logger.warning(Warnings.W976.format(n=_FIRST_TEXTS))
        texts = list(map(normalize_text, texts))
        make_from_scratch(model, [*texts, *names], prompt=prompt)
        task.forget_updates()
    task.require_prompt()

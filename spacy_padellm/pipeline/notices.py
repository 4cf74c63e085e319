"""Warnings of settings that are probably typos, each given once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from spacy_padellm.errors import Warnings, logger

_MOST = 20  # warnings of a component; each text may have other labels
_ANY_LANGUAGE = ("", "xx")
_SHOWN = 50  # labels in a message


class Notices:
    """The warnings that a component has given."""

    def __init__(self) -> None:
        self._labels: set[str] = set()  # that a warning names
        self._given: set[str] = set()

    def labels(
        self, labels: Iterable[str], *, known: Collection[str], model: str
    ) -> None:
        """Warn of labels that the model was not trained on.

        labels (Iterable[str]): The labels to find.
        known (Collection[str]): Those that it was trained on; empty if that is unknown.
        model (str): The model's name.
        """
        if not known or len(self._given) >= _MOST:
            return
        unknown = [label for label in labels if label not in known]
        if not self._labels.issuperset(unknown):
            self._labels.update(unknown[:_SHOWN])  # a Doc may have any number
            self._give(
                Warnings.W120.format(
                    model=model, labels=_join(unknown), known=_join(known)
                )
            )

    def model(self, model: str) -> None:
        """Warn of a model that does not say what it was trained for.

        model (str): The model's name.
        """
        self._give(Warnings.W121.format(model=model))

    def threshold(self, threshold: Any, *, labels: Collection[str], name: str) -> None:
        """Warn of thresholds for labels that are not found.

        threshold (Any): The component's setting.
        labels (Collection[str]): All labels that may be found.
        name (str): The component's name.
        """
        if isinstance(threshold, Mapping):
            unknown = [label for label in threshold if label not in labels]
            if unknown:
                self._give(
                    Warnings.W122.format(
                        name=name, labels=_join(unknown), known=_join(labels)
                    )
                )

    def language(self, language: str, *, spoken: str, model: str, name: str) -> None:
        """Warn of a pipeline for another language than that of a bundled model.

        language (str): The pipeline's language.
        spoken (str): The model's language.
        model (str): The model's name.
        name (str): The component's name.
        """
        if language not in (spoken, *_ANY_LANGUAGE):
            self._give(
                Warnings.W123.format(
                    model=model, spoken=spoken, language=language, name=name
                )
            )

    def goes_on(self, name: str) -> None:
        """Warn that a component is not made anew, but goes on from its training.

        name (str): The component's name.
        """
        self._give(Warnings.W981.format(name=name))

    def cfg(self, cfg: Iterable[str], *, known: Collection[str], name: str) -> None:
        """Warn of settings that a component does not have.

        cfg (Iterable[str]): The names of its settings as they are now.
        known (Collection[str]): The names of those that it has.
        name (str): The component's name.
        """
        unknown = [setting for setting in cfg if setting not in known]
        if unknown:
            self._give(
                Warnings.W125.format(
                    name=name, settings=_join(unknown), known=_join(known)
                )
            )

    def _give(self, message: str) -> None:
        if message not in self._given and len(self._given) < _MOST:
            self._given.add(message)
            logger.warning(message)


def _join(labels: Iterable[str]) -> str:
    names = list(map(str, labels))
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join(names[:_SHOWN] + more)

"""The task of a component: its labels, prompt, thresholds and calibration, from its
config or from its model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice

from spacy.vocab import Vocab

from spacy_padellm.decoding.base import Decoder
from spacy_padellm.errors import Errors
from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.lm.task.config import TaskSettings, check_names, reconcile
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.prompt.template import PRESETS, Prompt
from spacy_padellm.text.labels import (
    DocLabels,
    LabelNames,
    check_distinct,
    label_names,
)

_MOST_DOC_LABELS = 1000  # of Docs that are decoded and not yet annotated, and more


class Task:
    """The labels, the prompt and the tuning of a component.

    labels (dict[str, str]): Label -> its name in the prompt.
    prompt (Prompt | None): The prompt; None while neither config nor model has one.
    tuning (Tuning): The model's thresholds and calibration.
    used_tuning (Tuning): The same, also for labels that have the same names in the
        prompt as those in it.
    """

    def __init__(
        self,
        handle: ModelHandle,
        *,
        name: str,
        labels: Mapping[str, str],
        prompt: Prompt | None,
        vocab: Vocab,
    ) -> None:
        """Combine the settings of the config with those of the model.

        handle (ModelHandle): The model's handle.
        name (str): The component's name, for error messages.
        labels (Mapping[str, str]): The config's labels; empty takes the model's.
        prompt (Prompt | None): The config's prompt; None takes the model's.
        vocab (Vocab): The labels are added to its strings.
        RAISES (ValueError): If the config contradicts the model.
        """
        self.prompt = prompt
        self._handle = handle
        self._name = name
        self._vocab = vocab
        self._hub_checked = False
        self._checked_decoder: Decoder | None = None  # the decoder that fits the model
        # label -> its name: of updates since loading, of the training data, all so far
        self._updated_labels: dict[str, str] = {}
        self._expected_labels: dict[str, str] = {}
        self._names_so_far: dict[str, str] = {}
        # those of single Docs, with their names, which are names of others too
        self._doc_labels: dict[str, str] = {}
        self._alike: list[list[str]] | None = None
        self._set_model_settings(handle.settings)
        self.set_labels(labels)

    @property
    def alike(self) -> list[list[str]]:
        """The labels that share a name in the prompt with others, by that name: to the
        model they are the same."""
        if self._alike is None:
            labels_of: dict[str, list[str]] = {}
            for label, name in {**self._doc_labels, **self._known_names}.items():
                labels_of.setdefault(name, []).append(label)
            self._alike = [labels for labels in labels_of.values() if len(labels) > 1]
        return self._alike

    @property
    def _known_names(self) -> dict[str, str]:
        """Label -> its name, for the labels of the component and of the model."""
        return {**self._names_so_far, **self.trained_labels, **self.labels}

    @property
    def used_tuning(self) -> Tuning:
        """See the class."""
        return self.tuning.shared(self.alike) if self.alike else self.tuning

    def _set_model_settings(self, settings: TaskSettings | None) -> None:
        self._model_settings = settings
        # thresholds and calibration do not fit weights that were trained since
        tuned = None if self._handle.trained else settings
        self.tuning = tuned.tuning if tuned else Tuning()

    # Labels

    def set_labels(self, labels: Mapping[str, str]) -> None:
        """Set the labels to find.

        labels (Mapping[str, str]): Label -> its name in the prompt; empty takes the
            model's labels.
        RAISES (ValueError): If the model was trained with another name for a label, or
            two labels have the same name.
        """
        check_distinct(labels)
        self.labels, self.prompt = reconcile(
            labels=labels,
            prompt=self.prompt,
            carried=self._model_settings,
            source=self._handle.origin,
            component=self._name,
        )
        self._names_so_far |= self.labels
        self._alike = None
        for label in self.labels:
            # a string that is first used in a memory zone is freed with it
            self._vocab.strings.add(label)

    @property
    def model_labels(self) -> dict[str, str]:
        """Label -> its name, for the labels that the model was trained on when it was
        loaded; empty if it does not tell."""
        return dict(self._model_settings.labels) if self._model_settings else {}

    @property
    def updated_labels(self) -> dict[str, str]:
        """Label -> its name, for the labels of all updates since loading."""
        return dict(self._updated_labels)

    @property
    def trained_labels(self) -> dict[str, str]:
        """Label -> its name, for all labels that the model was trained on."""
        return _replace_alike(self.model_labels, self._updated_labels)

    @property
    def known_labels(self) -> dict[str, str]:
        """Label -> its name, for labels that were trained, and if any was, those that
        are to be trained; empty if it is unknown what the model was trained for."""
        trained = self.trained_labels
        return {**self._expected_labels, **trained} if trained else {}

    def name_labels(
        self, labels: LabelNames | Mapping[str, str | None] | Iterable[str]
    ) -> dict[str, str]:
        """Labels with their names in the prompt; those without a name get their last
        one, or the model's.

        labels (LabelNames | Mapping | Iterable[str]): See `PaDeLLMNER.set_labels`.
        """
        return label_names(labels, {**self.model_labels, **self._names_so_far})

    def resolve_labels(self, doc_labels: DocLabels | None) -> dict[str, str]:
        """The labels to find in a Doc, with their names in the prompt.

        doc_labels (DocLabels | None): The labels in its user data; None takes the
            component's labels.
        RAISES (ValueError): If the model was trained with another name for a label.
        """
        if doc_labels is None:
            return dict(self.labels)
        names = self.name_labels(dict(doc_labels))
        self.check_names(names)
        self._note_doc_labels(names)
        return names

    def _note_doc_labels(self, names: Mapping[str, str]) -> None:
        """Note the labels of a Doc that are other labels for known names.

        Only the last ones are kept: each text of a stream may bring labels of its own.
        """
        known = self._known_names
        taken = {*known.values()}
        others = {k: v for k, v in names.items() if k not in known and v in taken}
        if not others.items() <= self._doc_labels.items():
            before = {k: v for k, v in self._doc_labels.items() if k not in others}
            surplus = len(before) + len(others) - _MOST_DOC_LABELS
            kept = islice(before.items(), max(surplus, 0), None)
            self._doc_labels = {**dict(kept), **others}
            self._alike = None

    def check_names(self, names: Mapping[str, str]) -> None:
        """Check labels against those of the model.

        names (Mapping[str, str]): Label -> its name in the prompt.
        RAISES (ValueError): If the model was trained with another name for a label.
        """
        check_names(names, self.model_labels, source=self._handle.origin)

    def fetch_hub_settings(self) -> None:
        """Get the settings of a model on the hub, if the model is there.

        RAISES (ValueError): If there is no such model.
        """
        if not self._hub_checked:
            settings = self._handle.hub_settings()
            if settings != self._model_settings:
                self._set_model_settings(settings)
            self.set_labels(self.labels)
            self._hub_checked = True

    @property
    def says_nothing(self) -> bool:
        """Whether it is unknown what the model was trained for."""
        published = (PRESETS["released-en"], PRESETS["released-zh"])
        unknown = self._model_settings is None and not self._handle.trained
        return unknown and self.prompt not in published

    def set_all_labels(self) -> None:
        """Set all labels that the model was trained on, or else all that were set.

        RAISES (ValueError): If there are none.
        """
        labels = self.trained_labels or self._names_so_far
        if not labels:
            raise ValueError(Errors.P140.format(name=self._name))
        self.set_labels(labels)

    # Training

    def expect_labels(self, labels: Mapping[str, str]) -> None:
        """Add labels of the training data, which updates are to teach.

        labels (Mapping[str, str]): Label -> its name in the prompt.
        """
        self._expected_labels |= labels

    def forget_updates(self) -> None:
        """Forget what the model was trained on, for it is made anew."""
        self._updated_labels = {}
        self.tuning = Tuning()
        self._alike = None

    def record_update(self, labels: Mapping[str, str]) -> None:
        """Add the labels of an update to those that the model was trained on.

        labels (Mapping[str, str]): Label -> its name in the prompt.
        """
        self._updated_labels = _replace_alike(self._updated_labels, labels)
        self._alike = None

    # Use

    def require_prompt(self) -> Prompt:
        """The prompt; checks that there are labels too.

        RAISES (ValueError): If there are no labels, or no prompt.
        """
        handle = self._handle
        self.fetch_hub_settings()
        if not self.labels:
            if handle.source.name is not None:
                handle.check()  # a missing model is the better message
            raise ValueError(Errors.P140.format(name=self._name))
        if self.prompt is None:
            handle.check()
            raise ValueError(Errors.P144.format(name=self._name))
        return self.prompt

    def require_prompt_for(self, decoder: Decoder) -> Prompt:
        """The prompt; checks that the model was trained for the decoder.

        decoder (Decoder): The decoder.
        RAISES (ValueError): If the model was trained for another output format, or
            there is no model yet, or there are no labels, or no prompt.
        """
        if self._handle.empty:
            self._handle.check()  # the better message than that there are no labels
        prompt = self.require_prompt()
        if self._checked_decoder is not decoder and not self._handle.trained:
            settings = self._model_settings
            trained = settings.output_format if settings else ""
            if trained and trained != decoder.output_format:
                message = Errors.P151.format(
                    name=self._handle.origin,
                    trained=trained,
                    expected=decoder.output_format,
                )
                raise ValueError(message)
            self._checked_decoder = decoder
        return prompt

    def settings(
        self, decoder: Decoder, threshold: float | Mapping[str, float] | None
    ) -> TaskSettings:
        """The settings that are saved with the weights.

        decoder (Decoder): The component's decoder.
        threshold (float | Mapping[str, float] | None): The component's threshold.
            Thresholds of labels replace those of the model.
        RAISES (ValueError): If labels or prompt are missing.
        """
        prompt = self.require_prompt()
        old = self._model_settings
        # all labels of the model, also if the component is set to find only some
        labels = self.trained_labels
        # the name set for a single Doc does not replace the component's
        labels |= {k: name for k, name in self.labels.items() if k in labels}
        output_format = old.output_format if old else ""
        if self._handle.trained:
            output_format = decoder.output_format
        tuning = self.tuning
        if isinstance(threshold, Mapping):
            tuning = replace(tuning, thresholds={**tuning.thresholds, **threshold})
        tuning = tuning.shared(self.alike)
        return TaskSettings(labels or self.labels, prompt, tuning, output_format)


def _replace_alike(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Label -> its name in the prompt, with new labels in place of old ones that have
    the same name."""
    names = {*new.values()}
    kept = {
        label: name for label, name in old.items() if label in new or name not in names
    }
    return {**kept, **new}

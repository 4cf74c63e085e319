"""What a component is asked to find, and what it takes for found: labels, prompt and
tuning, its own or those that its model carries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from spacy.vocab import Vocab

from spacy_padellm.decoding.base import Decoder
from spacy_padellm.errors import Errors
from spacy_padellm.lm.handle import ModelHandle
from spacy_padellm.lm.task_config import TaskSettings, reconcile
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.text.labels import (
    GivenLabels,
    LabelNames,
    check_distinct,
    label_names,
)


class Task:
    """The labels, the prompt and the tuning of a component.

    labels (dict[str, str]): Label -> its name in the prompt.
    prompt (Prompt | None): The prompt; None while neither config nor model has one.
    tuning (Tuning): How mentions are judged, as the model carries it.
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
        """Bring what the config says together with what the model carries.

        handle (ModelHandle): The model's handle.
        name (str): The component's name, for error messages.
        labels (Mapping[str, str]): The config's; empty takes the model's.
        prompt (Prompt | None): The config's; None takes the model's.
        vocab (Vocab): Keeps the labels.
        RAISES (ValueError): If they contradict the model's.
        """
        self.prompt = prompt
        self._handle = handle
        self._name = name
        self._vocab = vocab
        self._hub_asked = False
        self._fits: Decoder | None = None  # the decoder that fits the model
        self._taught: dict[str, str] = {}  # label -> its name, in updates since loading
        self._names: dict[str, str] = {}  # of all labels that were to be found so far
        self._take(handle.settings)
        self.set_labels(labels)

    def _take(self, carried: TaskSettings | None) -> None:
        self._carried = carried
        # it was learnt for the weights as they came
        as_learnt = None if self._handle.trained else carried
        self.tuning = as_learnt.tuning if as_learnt else Tuning()

    # Labels

    def set_labels(self, labels: Mapping[str, str]) -> None:
        """Find these labels from now on.

        labels (Mapping[str, str]): Label -> its name in the prompt; empty takes the
            model's.
        RAISES (ValueError): If one is known to the model by another name, or two have
            the same.
        """
        check_distinct(labels)
        self.labels, self.prompt = reconcile(
            labels=labels,
            prompt=self.prompt,
            carried=self._carried,
            source=self._handle.origin,
        )
        self._names |= self.labels
        for label in self.labels:
            # a label first seen in a memory zone would be freed with it
            self._vocab.strings.add(label)

    def named(
        self, labels: LabelNames | Mapping[str, str | None] | Iterable[str]
    ) -> dict[str, str]:
        """Labels with their names in the prompt; those without one keep theirs.

        labels (LabelNames | Mapping | Iterable[str]): As `PaDeLLMNER.set_labels`
            takes them.
        """
        carried = self._carried.labels if self._carried else {}
        return label_names(labels, {**carried, **self._names})

    def of_doc(self, doc_labels: GivenLabels | None) -> dict[str, str]:
        """The labels to find in a Doc with these labels of its own.

        RAISES (ValueError): If one is known to the model by another name.
        """
        if doc_labels is None:
            return dict(self.labels)
        names = self.named(dict(doc_labels))
        self.check_names(names)
        return names

    def check_names(self, names: Mapping[str, str]) -> None:
        """Check that the model knows labels by these names.

        RAISES (ValueError): If it knows one by another name.
        """
        reconcile(
            labels=names, prompt=None, carried=self._carried, source=self._handle.origin
        )

    def ask_hub(self) -> None:
        """Find out what a model on the hub carries.

        RAISES (ValueError): If there is no such model.
        """
        if not self._hub_asked:
            carried = self._handle.hub_settings()
            if carried != self._carried:
                self._take(carried)
            self.set_labels(self.labels)
            self._hub_asked = True

    # Training

    def record_trained(self, labels: Mapping[str, str]) -> None:
        """Note the labels of an update."""
        self._taught |= labels

    # Working

    def ready(self) -> Prompt:
        """The prompt to work with, once the labels are known too.

        RAISES (ValueError): If there is none of either.
        """
        handle = self._handle
        self.ask_hub()
        if not self.labels:
            if handle.source.name is not None:
                handle.check()  # a wrong name has no labels either
            raise ValueError(Errors.P140.format(name=self._name))
        if self.prompt is None:
            handle.check()
            raise ValueError(Errors.P144.format(name=self._name))
        return self.prompt

    def ready_for(self, decoder: Decoder) -> Prompt:
        """The prompt to find mentions with.

        decoder (Decoder): What finds them.
        RAISES (ValueError): If it asks what the model was not trained for.
        """
        prompt = self.ready()
        if self._fits is not decoder and not self._handle.trained:
            trained = self._carried.output_format if self._carried else ""
            if trained and trained != decoder.output_format:
                message = Errors.P151.format(
                    name=self._handle.origin,
                    trained=trained,
                    asked=decoder.output_format,
                )
                raise ValueError(message)
            self._fits = decoder
        return prompt

    def settings(
        self, decoder: Decoder, threshold: float | Mapping[str, float] | None
    ) -> TaskSettings:
        """What is written beside the weights.

        decoder (Decoder): Whose kind of answers the model was trained for, if it was.
        threshold (float | Mapping[str, float] | None): The component's own; those of
            labels are carried in the place of the model's.
        RAISES (ValueError): If labels or prompt are missing.
        """
        prompt = self.ready()
        carried = self._carried
        # the model's labels, which are not those that are asked for
        labels = {**(carried.labels if carried else {}), **self._taught}
        # a Doc may have given one another name
        labels |= {k: name for k, name in self.labels.items() if k in labels}
        output_format = carried.output_format if carried else ""
        if self._handle.trained:
            output_format = decoder.output_format
        tuning = self.tuning
        if isinstance(threshold, Mapping):
            tuning = replace(tuning, thresholds={**tuning.thresholds, **threshold})
        return TaskSettings(labels or self.labels, prompt, tuning, output_format)

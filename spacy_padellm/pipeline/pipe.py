"""The component: spaCy's contracts, and the order in which the rooms are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spacy import util
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Optimizer

from spacy_padellm.decoding.base import Decoder
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.lm.handle import ModelHandle
from spacy_padellm.mention.calibration import Calibration, Tuning
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.pipeline.annotate_docs import find_mentions
from spacy_padellm.pipeline.saving import (
    Loaded,
    Parts,
    read_bytes,
    read_folder,
    write_bytes,
    write_folder,
)
from spacy_padellm.pipeline.task import Task
from spacy_padellm.pipeline.validation import check_choices
from spacy_padellm.prompt.template import PRESETS, Prompt
from spacy_padellm.text.gold import (
    check_first,
    gold_labels,
    golds_by_labels,
    noting_texts,
)
from spacy_padellm.text.labels import LabelNames, label_names
from spacy_padellm.text.normalize import normalize_text
from spacy_padellm.text.span_getters import SpanGetter
from spacy_padellm.text.spans import DocMentions, annotate
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.thinc_model import TreeModel, get_handle
from spacy_padellm.training.update import (
    Updates,
    add_update,
    make_from_scratch,
    make_step,
    mean_loss,
)

STREAM_FROM = 256  # Docs of a batch; smaller ones are asked for to get Docs early


class PaDeLLMNER(TrainablePipe):
    """Named-entity recognition by count-then-mention decoding of a causal LM."""

    def __init__(
        self,
        vocab: Vocab,
        model: TreeModel,
        *,
        name: str,
        labels: LabelNames,
        prompt: Prompt | None,
        decoder: Decoder,
        span_getter: SpanGetter,
        training: TrainingSettings,
        scorer: Callable[..., dict[str, Any]] | None,
        spans_key: str,
        threshold: float | dict[str, float] | None,
        dedup: str,
        alignment_mode: str,
        existing: str,
    ) -> None:
        """Make the component; nothing is loaded yet.

        vocab (Vocab): The pipeline's vocabulary.
        model (TreeModel): `spacy-padellm.CausalLM.v1` or `SmallCausalLM.v1`.
        name (str): The component's name in the pipeline.
        labels (LabelNames): Label -> its name in the prompt, or a mapping of `name`
            and `description`; empty takes those of the model or of the training data.
        prompt (Prompt | None): The prompt; None takes the model's.
        decoder (Decoder): Texts and labels to mentions.
        span_getter (SpanGetter): Cuts Docs into the windows that the model reads.
        training (TrainingSettings): How it is trained.
        scorer (Callable | None): Scores examples.
        spans_key (str): Where in `doc.spans` all mentions go, with their scores.
        threshold (float | dict[str, float] | None): Lowest probability of a mention, in
            0..1, or that of each label; None takes the model's, or the decoder's.
        dedup (str): "on", "off" or "reversed": of a string under several labels, the
            likeliest keeps it, all do, or the least likely (paper, section 3.3).
        alignment_mode (str): "strict", "contract" or "expand": of a mention that cuts
            a token.
        existing (str): "overwrite" or "keep" the entities that a Doc has already,
            and its blocked tokens.
        RAISES (ValueError): On unknown settings, or labels or a prompt that contradict
            the model's.
        """
        check_choices(
            name,
            threshold=threshold,
            dedup=dedup,
            alignment_mode=alignment_mode,
            existing=existing,
        )
        if prompt is not None and not isinstance(prompt, Prompt):
            raise ValueError(Errors.P156.format(name=name, value=prompt))
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self._own_prompt = prompt
        self.decoder = decoder
        self.span_getter = span_getter
        self.training = training
        self.cfg: dict[str, Any] = {
            "threshold": threshold,
            "spans_key": spans_key,
            "dedup": dedup,
            "alignment_mode": alignment_mode,
            "existing": existing,
        }
        self._updates = Updates()
        self._warned_of_drop = False
        self._task = self._make_task(label_names(labels, {}), prompt)

    def _make_task(self, labels: Mapping[str, str], prompt: Prompt | None) -> Task:
        return Task(
            self.handle,
            name=self.name,
            labels=labels,
            prompt=prompt,
            vocab=self.vocab,
        )

    @property
    def handle(self) -> ModelHandle:
        """The model's handle."""
        return get_handle(self.model)

    @property
    def prompt(self) -> Prompt | None:
        """The prompt; None while neither config nor model has one."""
        return self._task.prompt

    # Labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels."""
        return tuple(self._task.labels)

    @property
    def label_data(self) -> dict[str, str]:
        """Label -> its name in the prompt, as `spacy init labels` writes it."""
        return dict(self._task.labels)

    def add_label(self, label: str, name: str | None = None) -> int:
        """Add a label.

        label (str): The label.
        name (str | None): Its name in the prompt; None takes the model's, or else the
            label itself.
        RETURNS (int): 1 if it is new, else 0.
        RAISES (ValueError): If it is no string, or known to the model by another name,
            or has the name of another label.
        """
        self._task.ask_hub()
        named = self._task.named({label: name})
        if label in self._task.labels:
            if name is not None:
                self._task.check_names(named)
            return 0
        self._task.set_labels({**self._task.labels, **named})
        return 1

    def set_labels(self, labels: LabelNames | Iterable[str]) -> None:
        """Choose the labels to find from now on.

        For one Doc alone, set `doc.user_data["padellm_labels"]` in the same way. A
        model finds of labels that it was not trained for what it makes of their names.

        labels (LabelNames | Iterable[str]): Some of the model's labels, or others;
            label -> its name in the prompt, or a mapping of `name` and `description`.
        RAISES (ValueError): If there are none, or one is known to the model by another
            name.
        """
        self._task.ask_hub()
        names = self._task.named(labels)
        if not names:
            raise ValueError(Errors.P140.format(name=self.name))
        self._task.set_labels(names)

    @property
    def threshold(self) -> float | Mapping[str, float]:
        """The lowest probability of a mention, or of labels' mentions; those of others
        count from the decoder's `default_threshold` on."""
        threshold: float | dict[str, float] | None = self.cfg["threshold"]
        if threshold is not None and not isinstance(threshold, Mapping):
            return threshold
        return {**self._task.tuning.thresholds, **(threshold or {})}

    def lowest_score(self, label: str) -> float:
        """The lowest probability of a label's mentions."""
        threshold = self.threshold
        if isinstance(threshold, Mapping):
            return threshold.get(label, self.decoder.default_threshold)
        return float(threshold)

    @property
    def calibration(self) -> Calibration:
        """What makes the scores of mentions probabilities."""
        return self._task.tuning.calibration

    def set_tuning(self, tuning: Tuning) -> None:
        """Let the model carry thresholds and a calibration, until it is trained.

        tuning (Tuning): How mentions are judged. A `threshold` that was set goes.
        """
        self._task.ready()  # or the hub's would take their place at first use
        self.cfg["threshold"] = None
        self._task.tuning = tuning

    # Prediction

    def __call__(self, doc: Doc) -> Doc:
        """Find the entities of one Doc."""
        annotated = list(self._annotated([doc]))
        return annotated[0] if annotated else doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Find the entities of a stream of Docs.

        stream (Iterable[Doc]): The Docs.
        batch_size (int): How many are looked at together at least. From 256 on the
            decoder takes texts as it needs them, without a stop between batches.
        YIELDS (Doc): The same Docs in the same order. One that fails is given to the
            error handler, and left out if that does not raise.
        """
        if batch_size >= STREAM_FROM:
            yield from self._annotated(stream)
        else:
            for docs in util.minibatch(stream, size=batch_size):
                yield from self._annotated(docs)

    def predict(self, docs: Iterable[Doc]) -> list[DocMentions]:
        """Find mentions without touching the Docs.

        docs (Iterable[Doc]): The Docs; blank ones have no mention.
        RETURNS (list[DocMentions]): One for each Doc.
        RAISES (ValueError): If labels or prompt are missing, the model cannot be
            loaded, or a text does not fit it.
        """
        results = []
        for _, found in self._found(docs):
            if isinstance(found, Exception):
                raise found
            results.append(found)
        return results

    def set_annotations(
        self, docs: Iterable[Doc], predictions: Sequence[DocMentions]
    ) -> None:
        """Write `doc.spans[spans_key]` and `doc.ents`.

        RAISES (ValueError): If a setting in `cfg` was changed to what it cannot be.
        """
        check_choices(
            self.name,
            threshold=self.cfg["threshold"],
            dedup=self.cfg["dedup"],
            alignment_mode=self.cfg["alignment_mode"],
            existing=self.cfg["existing"],
        )
        for doc, found in zip(docs, predictions, strict=True):
            annotate(
                doc,
                found,
                spans_key=self.cfg["spans_key"],
                alignment_mode=self.cfg["alignment_mode"],
                lowest_score=self.lowest_score,
                calibration=self.calibration,
                existing=self.cfg["existing"],
            )

    def _annotated(self, docs: Iterable[Doc]) -> Iterator[Doc]:
        for doc, found in self._found(docs):
            try:
                if isinstance(found, Exception):
                    raise found
                self.set_annotations([doc], [found])
            except Exception as error:
                self.get_error_handler()(self.name, self, [doc], error)
            else:
                yield doc

    def _found(
        self, docs: Iterable[Doc]
    ) -> Iterator[tuple[Doc, DocMentions | Exception]]:
        return find_mentions(
            docs,
            self.decoder,
            handle=self.handle,
            span_getter=self.span_getter,
            dedup=self.cfg["dedup"],
            counts=lambda m: self.calibration(m.score) >= self.lowest_score(m.label),
            ready=lambda: self._task.ready_for(self.decoder),
            labels_of=self._task.of_doc,
        )

    # Training

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, str | dict[str, str]] | list[str] | None = None,
    ) -> None:
        """Find the labels, and make a model that starts from scratch.

        get_examples (Callable[[], Iterable[Example]]): Gives examples of the training
            data.
        nlp (Language | None): The pipeline.
        labels (dict | list | None): As `set_labels` takes them; None takes the
            config's, the model's, or those of the examples.
        RAISES (ValueError): If there are no labels, or the examples have others.
        """
        check_first(get_examples, "PaDeLLMNER.initialize")
        if labels is not None:
            self._task.set_labels(self._task.named(labels))
        texts: list[str] = []
        found = gold_labels(
            noting_texts(get_examples(), texts),
            name=self.name,
            known=self.labels,
            spans_key=self.cfg["spans_key"],
            labels_of=self._task.of_doc,
        )
        if not self.labels:
            self._task.set_labels(dict(sorted(found.items())))
        if self.handle.empty:
            if self._task.prompt is None:
                self._task.prompt = PRESETS["compact"]
            prompt = self._task.ready()
            names = {**found, **self._task.labels}.values()
            texts = list(map(normalize_text, texts))
            make_from_scratch(self.model, [*texts, *names], prompt=prompt)
        self._task.ready()

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Add the gradient of a batch; a step follows if `sgd` is given.

        examples (Iterable[Example]): The batch; examples without gold annotation are
            left out.
        drop (float): Has no effect: causal LMs are fine-tuned without dropout. The
            first value other than 0 is reported as a warning.
        sgd (Optimizer | None): The optimizer.
        losses (dict[str, float] | None): The mean loss is added under the name.
        RETURNS (dict[str, float]): The losses.
        RAISES (ValueError): If a gold label is unknown, a text does not fit the model,
            or the loss is no number.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        if drop and not self._warned_of_drop:
            logger.warning(Warnings.W105.format(name=self.name, drop=drop))
            self._warned_of_drop = True
        golds = self._golds(examples, "PaDeLLMNER.update")
        for labels, _ in golds:
            self._task.record_trained(labels)
        if golds:
            losses[self.name] += add_update(
                self._updates,
                golds,
                model=self.model,
                decoder=self.decoder,
                prompt=self._task.ready(),
                settings=self.training,
            )
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def get_loss(
        self, examples: Iterable[Example], scores: object
    ) -> tuple[float, float]:
        """The loss of a batch; the model and its gradients do not change.

        The loss is that of the gold answers, token by token. It does not depend on
        the mentions that were predicted, so that another forward pass is made for it.

        examples (Iterable[Example]): The batch; examples without gold annotation are
            left out.
        scores (object): The predictions for the batch, as `predict` returns them. Not
            used; part of spaCy's interface.
        RETURNS (tuple[float, float]): The mean loss, as `update` adds it to the losses,
            and its derivative with respect to the output of the component's `model`,
            which is the summed loss. Both are 0 if no example is annotated.
        RAISES (ValueError): If a gold label is unknown, a text does not fit the model,
            or the loss is no number.
        """
        golds = self._golds(examples, "PaDeLLMNER.get_loss")
        if not golds:
            return 0.0, 0.0
        return mean_loss(
            golds,
            model=self.model,
            decoder=self.decoder,
            prompt=self._task.ready(),
            settings=self.training,
        )

    def _golds(
        self, examples: Iterable[Example], method: str
    ) -> list[tuple[dict[str, str], list[GoldText]]]:
        """The gold texts of a batch, by their labels."""
        examples = list(examples)
        validate_examples(examples, method)
        return golds_by_labels(
            examples,
            self.span_getter,
            name=self.name,
            spans_key=self.cfg["spans_key"],
            labels_of=self._task.of_doc,
        )

    def finish_update(self, sgd: Optimizer) -> None:
        """Apply the mean gradient of the updates since the last step.

        RAISES (ValueError): If `sgd` averages parameters.
        """
        if self._updates.count:
            make_step(self._updates, self.handle.lm(), sgd, settings=self.training)
            # it was learnt for other weights
            self._task.tuning = Tuning()

    # Saving

    def to_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> None:
        """Write the component; its model becomes a Hugging Face folder, `model`.

        path (str | Path): The component's folder.
        exclude (Iterable[str]): "vocab", "cfg", "model".
        """
        write_folder(self._parts(), path, exclude=exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> PaDeLLMNER:
        """Read what `to_disk` wrote; the weights are loaded at first use.

        path (str | Path): The component's folder.
        exclude (Iterable[str]): "vocab", "cfg", "model".
        RAISES (ValueError): If files are missing.
        """
        self._take(read_folder(self._parts(), Path(path), exclude=exclude))
        return self

    def to_bytes(self, *, exclude: Iterable[str] = util.SimpleFrozenList()) -> bytes:
        """The component as bytes.

        exclude (Iterable[str]): "vocab", "cfg", "model".
        RAISES (ValueError): If the model is too large for one message (4 GiB).
        """
        return write_bytes(self._parts(), exclude=exclude)

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> PaDeLLMNER:
        """Read what `to_bytes` gave.

        exclude (Iterable[str]): "vocab", "cfg", "model".
        """
        self._take(read_bytes(self._parts(), bytes_data, exclude=exclude))
        return self

    def _parts(self) -> Parts:
        return Parts(
            self.name,
            lambda: {**self.cfg, "labels": self._task.labels},
            self.vocab,
            self.handle,
            lambda: self._task.settings(self.decoder, self.cfg["threshold"]),
            self.decoder.needs_weights,
        )

    def _take(self, loaded: Loaded) -> None:
        labels = loaded.cfg.pop("labels")
        self.cfg.update(loaded.cfg)
        self._updates = Updates()
        prompt = self._own_prompt if loaded.model else self.prompt
        self._task = self._make_task(labels, prompt)

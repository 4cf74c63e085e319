"""The component `padellm_ner`, with the methods of a trainable spaCy component."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from spacy import util
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Optimizer

from spacy_padellm.checks import is_whole
from spacy_padellm.compat.spacy import is_under_spacy_train
from spacy_padellm.decoding.base import DecodeJob, Decoder
from spacy_padellm.decoding.fits import Fits
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.lm.files.bundled import language_of
from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.lora import check_lora
from spacy_padellm.lm.trust.fields import as_mapping, as_name
from spacy_padellm.mention.calibration import Calibration, Promise, Tuning, share
from spacy_padellm.mention.dedup import Dedup
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.mention.mention import Mention
from spacy_padellm.pipeline.annotate_docs import align_result, decode_by_labels
from spacy_padellm.pipeline.initialize import initialize_task
from spacy_padellm.pipeline.merging import warn_of_merging
from spacy_padellm.pipeline.notices import Notices
from spacy_padellm.pipeline.saving import (
    LoadedParts,
    Parts,
    read_bytes,
    read_folder,
    write_bytes,
    write_folder,
)
from spacy_padellm.pipeline.task import Task
from spacy_padellm.pipeline.validation import check_cfg, check_threshold
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.text.doc_mentions import DocMentions
from spacy_padellm.text.gold import (
    check_get_examples,
    group_gold_texts,
)
from spacy_padellm.text.labels import (
    DocLabels,
    LabelNames,
    get_doc_labels,
    label_names,
)
from spacy_padellm.text.span_getters import SpanGetter
from spacy_padellm.text.stream import STREAM_FROM
from spacy_padellm.text.token_spans import AlignmentMode
from spacy_padellm.text.windows import CutWindows, Layout, Window, make_windows
from spacy_padellm.text.write_mentions import Existing, write_mentions
from spacy_padellm.training.check_config import (
    check_dev_corpus,
    check_training,
    planned_steps,
)
from spacy_padellm.training.check_model import check_model, check_prompt
from spacy_padellm.training.checkpoint import check_checkpoint
from spacy_padellm.training.schedules import tell_total
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.thinc_model import TreeModel, get_handle
from spacy_padellm.training.update import (
    Updates,
    add_update,
    get_state,
    make_step,
    mean_loss,
    set_state,
)


class PaDeLLMNER(TrainablePipe):  # type: ignore[misc]  # it is compiled, untyped
    """Named entity recognition by count-then-mention decoding with a causal LM."""

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
        dedup: Dedup,
        alignment_mode: AlignmentMode,
        existing: Existing,
        layout: Layout,
        alternatives: bool = False,
        document_memory: bool = True,
    ) -> None:
        """Make the component; the model is not loaded yet.

        vocab (Vocab): The pipeline's vocabulary.
        model (TreeModel): `spacy-padellm.CausalLM.v1` or `SmallCausalLM.v1`.
        name (str): The component's name in the pipeline.
        labels (LabelNames): Label -> its name in the prompt, or a mapping of `name`
            and `description`. Empty takes those of the model or the training data.
        prompt (Prompt | None): The prompt; None takes the model's.
        decoder (Decoder): Finds the mentions of texts.
        span_getter (SpanGetter): Cuts Docs into windows that fit the model.
        training (TrainingSettings): The training settings.
        scorer (Callable | None): Scores examples.
        spans_key (str): Key in `doc.spans` for all mentions and their scores.
        threshold (float | dict[str, float] | None): Lowest probability of a mention,
            in 0..1, for all labels or for each. None takes the model's threshold, or
            else the decoder's.
        dedup (Dedup): Which label keeps a string with several labels (paper, section
            3.3): the likeliest ("on"), all ("off") or the least likely ("reversed").
        alignment_mode (AlignmentMode): How a mention that starts or ends inside a token
            is aligned, as in `Doc.char_span`.
        existing (Existing): Whether to "overwrite" or "keep" a Doc's entities and
            blocked tokens.
        layout (Layout): Whether windows are cut at the breaks of a text's layout
            ("split"), such as blank lines, tabs and the lines of a list. "ignore" takes
            them for spaces.
        alternatives (bool): Whether to write other labels and edges of each mention to
            the `alternatives` of its span group.
        document_memory (bool): Whether a name that was found in a Doc raises the scores
            of its unlikely mentions there.
        RAISES (ValueError): If a setting is unknown, or the labels or the prompt
            contradict the model's.
        """
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self._config_prompt = prompt
        self.decoder = decoder
        self.span_getter = span_getter
        self.training = training
        self.cfg: dict[str, Any] = {
            "threshold": threshold,
            "spans_key": spans_key,
            "dedup": dedup,
            "alignment_mode": alignment_mode,
            "existing": existing,
            "layout": layout,
            "alternatives": alternatives,
            "document_memory": document_memory,
        }
        check_cfg(name, self.cfg)
        self._settings = tuple(self.cfg)
        self._notices = Notices()
        self.handle.needs_weights = decoder.needs_weights
        self._updates = Updates()
        self._steps: int | None = None  # of the training, once it is initialized
        self._warned_of_drop = False
        self.skips_step = False  # set by `spacy-padellm.checkpoints.v1`
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
    def model_labels(self) -> tuple[str, ...]:
        """The labels that the loaded model was trained on, as far as that is known."""
        return tuple(self._task.model_labels)

    @property
    def learnt_labels(self) -> tuple[str, ...]:
        """Those of the labels whose names in the prompt are known to the loaded model:
        it was trained on them, perhaps as names of other labels."""
        names = {*self._task.model_labels.values()}
        return tuple(k for k, name in self._task.labels.items() if name in names)

    @property
    def label_data(self) -> dict[str, str]:
        """Label -> its name in the prompt, as saved by `spacy init labels`."""
        return dict(self._task.labels)

    def add_label(self, label: str, name: str | None = None) -> int:
        """Add a label.

        label (str): The label.
        name (str | None): Its name in the prompt; None takes the model's, or else the
            label itself.
        RETURNS (int): 1 if it is new, else 0.
        RAISES (ValueError): If it is not a string, or the model was trained with
            another name for it, or another label has the same name.
        """
        self._task.fetch_hub_settings()
        names = self._task.name_labels({label: name})
        if label in self._task.labels:
            if name is not None:
                self._task.check_names(names)
            return 0
        self._task.set_labels({**self._task.labels, **names})
        return 1

    def set_labels(self, labels: LabelNames | Iterable[str] | None) -> None:
        """Set the labels to find.

        To set the labels of a single Doc, use `doc.user_data["padellm_labels"]`. For
        unseen labels the model relies on the name alone, and a warning says so.

        labels (LabelNames | Iterable[str] | None): Labels, or label -> its name in the
            prompt, or a mapping of `name` and `description`. None takes all labels of
            the model.
        RAISES (ValueError): If there are no labels, or the model was trained with
            another name for one of them.
        """
        self._task.fetch_hub_settings()
        if labels is None:
            self._task.set_all_labels()
            return
        names = self._task.name_labels(labels)
        if not names:
            raise ValueError(Errors.P1024.format(name=self.name))
        self._task.set_labels(names)
        self._note_labels(names)

    @property
    def threshold(self) -> float | Mapping[str, float]:
        """The lowest probability of a mention: a number for all labels, or label ->
        number; the decoder's `default_threshold` is for labels that are not in it.

        RAISES (ValueError): If `cfg` was changed, and its threshold is neither.
        """
        threshold: float | dict[str, float] | None = self.cfg["threshold"]
        check_threshold(self.name, threshold)
        if threshold is not None and not isinstance(threshold, Mapping):
            return threshold
        thresholds = {**self._task.tuning.thresholds, **(threshold or {})}
        return share(thresholds, self._task.alike)

    def lowest_score(self, label: str) -> float:
        """The lowest probability of mentions of a label.

        label (str): The label.
        """
        return self.lowest_scores()(label)

    def lowest_scores(self) -> Callable[[str], float]:
        """Get `lowest_score` with the settings of now, which are looked up once.

        RETURNS (Callable): Label -> the lowest probability of its mentions.
        """
        threshold, default = self.threshold, self.decoder.default_threshold
        if isinstance(threshold, Mapping):
            return lambda label: threshold.get(label, default)
        lowest = float(threshold)
        return lambda label: lowest

    @property
    def calibration(self) -> Calibration:
        """The model's calibration: makes the scores of mentions probabilities."""
        return self._task.tuning.calibration

    @property
    def promise(self) -> Promise | None:
        """The model's promise: a recall or a precision that the mentions of
        `doc.spans[f"{spans_key}_promised"]` keep on texts like those it was tuned on,
        with the component's decoder and settings as they were then."""
        return self._task.used_tuning.promise

    @property
    def tuning(self) -> Tuning:
        """The model's thresholds, calibration and promise."""
        return self._task.tuning

    def set_tuning(self, tuning: Tuning) -> None:
        """Set the model's thresholds, calibration and promise, which are saved with it.

        They replace the component's `threshold`, and are reset when it is trained.

        tuning (Tuning): The thresholds, the calibration and the promise.
        """
        self._task.require_prompt()  # so that the hub's do not replace them later
        self.cfg["threshold"] = None
        self._task.tuning = tuning

    # Prediction

    def __call__(self, doc: Doc) -> Doc:
        """Find the entities of a Doc.

        doc (Doc): The Doc. It is changed.
        RETURNS (Doc): The same Doc. A Doc with an error is passed to the error handler,
            and returned unchanged if that does not raise an error.
        """
        annotated = list(self._annotate([doc]))
        return annotated[0] if annotated else doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Find the entities of a stream of Docs.

        stream (Iterable[Doc]): The Docs.
        batch_size (int): Docs that are decoded together. From 256 on the stream is not
            cut into batches: the decoder takes texts as it needs them.
        YIELDS (Doc): The same Docs in the same order. A Doc with an error is passed to
            the error handler, and left out if that does not raise an error.
        RAISES (ValueError): If the batch size is below 1.
        """
        if not (is_whole(batch_size) and batch_size >= 1):
            raise ValueError(Errors.P762.format(value=batch_size))
        if batch_size >= STREAM_FROM:
            yield from self._annotate(stream)
        else:
            for docs in util.minibatch(stream, size=batch_size):
                yield from self._annotate(docs)

    def predict(self, docs: Iterable[Doc]) -> list[DocMentions]:
        """Find mentions without changing the Docs.

        docs (Iterable[Doc]): The Docs; empty ones have no mentions.
        RETURNS (list[DocMentions]): One for each Doc.
        RAISES (ValueError): If labels or prompt are missing, the model cannot be
            loaded, or a text does not fit it.
        """
        predictions = []
        for _, result in self._find(docs):
            if isinstance(result, Exception):
                raise result
            predictions.append(result)
        return predictions

    def set_annotations(
        self, docs: Iterable[Doc], predictions: Sequence[DocMentions]
    ) -> None:
        """Write `doc.spans[spans_key]` and `doc.ents`, and, if the model has a promise,
        `doc.spans[f"{spans_key}_promised"]`.

        docs (Iterable[Doc]): The Docs.
        predictions (Sequence[DocMentions]): What `predict` returned for them.
        RAISES (ValueError): If `cfg` was changed, and a setting is not valid.
        """
        check_cfg(self.name, self.cfg)
        lowest_score = self.lowest_scores()
        for doc, mentions in zip(docs, predictions, strict=True):
            write_mentions(
                doc,
                mentions,
                spans_key=self.cfg["spans_key"],
                alignment_mode=self.cfg["alignment_mode"],
                lowest_score=lowest_score,
                calibration=self.calibration,
                existing=self.cfg["existing"],
                promise=self.promise,
                alternatives=self.cfg["alternatives"],
                document_memory=self.cfg["document_memory"],
                dedup=self.cfg["dedup"],
            )

    def _annotate(self, docs: Iterable[Doc]) -> Iterator[Doc]:
        if self.skips_step:
            yield from docs  # the weights are those of a later step
            return
        warn_of_merging(self, name=self.name, spans_key=self.cfg["spans_key"])
        for doc, result in self._find(docs):
            try:
                if isinstance(result, Exception):
                    raise result
                self.set_annotations([doc], [result])
            except Exception as error:
                self.get_error_handler()(self.name, self, [doc], error)
            else:
                yield doc

    def _find(
        self, docs: Iterable[Doc]
    ) -> Iterator[tuple[Doc, DocMentions | Exception]]:
        align = partial(
            align_result,
            dedup=self.cfg["dedup"],
            get_passes_threshold=self._passes_threshold,
            promised=self.promise is not None,
            alternatives=self.cfg["alternatives"],
        )
        results = decode_by_labels(
            docs, self.decoder, make_job=self._make_checked_job, cut=self._cut
        )
        return ((result.doc, align(result)) for result in results)

    def _make_checked_job(self, doc_labels: DocLabels | None) -> DecodeJob:
        """What Docs are decoded with; warns of probable typos."""
        self._task.require_prompt_for(self.decoder)
        job = self._make_job(doc_labels, self.handle.lm)
        self._give_notices(job.labels)
        return job

    def _make_job(
        self, doc_labels: DocLabels | None, get_lm: Callable[[], LanguageModel]
    ) -> DecodeJob:
        """The model with its prompt and the labels of a Doc."""
        prompt = self._task.require_prompt()
        labels = self._task.resolve_labels(doc_labels)
        if not self.decoder.needs_weights:
            return DecodeJob(self.handle.client_tokens(prompt), labels)
        lm = get_lm()
        return DecodeJob(lm.tokens_of(prompt), labels, lm)

    def _give_notices(self, labels: Mapping[str, str]) -> None:
        notices, handle = self._notices, self.handle
        if self._task.says_nothing:
            notices.model(handle.origin)
        self._note_labels(labels)
        findable = {**self._task.trained_labels, **self._task.labels, **labels}
        notices.threshold(self.cfg["threshold"], labels=findable, name=self.name)
        notices.cfg(self.cfg, known=self._settings, name=self.name)
        self._note_language()

    def _note_language(self) -> None:
        """Warn of a bundled model in a pipeline for another language."""
        if bundled := self.handle.bundled:
            self._notices.language(
                self.vocab.lang,
                spoken=language_of(bundled),
                model=bundled,
                name=self.name,
            )

    def _note_labels(self, labels: Mapping[str, str]) -> None:
        known = self._task.known_labels
        names = {*known.values()}  # that labels have in prompts
        others = [label for label, name in labels.items() if name not in names]
        self._notices.labels(others, known=known, model=self.handle.origin)

    def make_windows(self, docs: Sequence[Doc]) -> list[Window]:
        """Cut Docs into the windows that are decoded.

        docs (Sequence[Doc]): The Docs.
        RAISES (ValueError): If labels or prompt are missing, a Doc's own labels are not
            valid, the model cannot be loaded, or the span getter leaves out text.
        """
        windows: list[Window] = []
        for index, doc in enumerate(docs):
            get_job = partial(self._make_job, get_doc_labels(doc), self.handle.lm)
            fits = Fits(cache(get_job), decoder=self.decoder)
            windows += [replace(own, doc=index) for own in self._cut([doc], fits=fits)]
        return windows

    def _cut(self, docs: Sequence[Doc], *, fits: Fits) -> list[Window]:
        return make_windows(
            docs,
            self.span_getter,
            name=self.name,
            layout=self.cfg["layout"],
            fits=fits,
        )

    def _passes_threshold(self) -> Callable[[Mention], bool]:
        """Whether a mention is likely enough, with the settings of now."""
        calibration, lowest_score = self.calibration, self.lowest_scores()
        return lambda m: calibration(m.score) >= lowest_score(m.label)

    # Training

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, str | dict[str, str]] | list[str] | None = None,
        new_labels: dict[str, str | dict[str, str]] | list[str] | None = None,
    ) -> None:
        """Collect the labels, and create the model if it is one from scratch.

        One that this process made is made anew by another call, as spaCy's components
        are. All others keep their weights; if this process trained them, with a
        warning.

        get_examples (Callable[[], Iterable[Example]]): Returns examples of the training
            data.
        nlp (Language | None): The pipeline.
        labels (dict | list | None): See `set_labels`; None takes those of the config,
            of the model, or of the examples.
        new_labels (dict | list | None): Labels to learn besides those.
        RAISES (ValueError): If there are no labels, or the examples have others, or
            the learning rate does not know how many steps the training takes, or
            a count in `[training]` is below 1, or adapters are to be trained, and
            the weights to be saved in few bits, or `lora` is not valid, or tags are to
            be trained, and the prompt is no prefix LM's. Under `spacy train`, also if
            the model cannot be loaded or trained, or there is no dev corpus.
        """
        if self.training.quantized and self.handle.has_adapters:
            raise ValueError(Errors.P993)
        if self.handle.source.lora is not None:
            check_lora(self.handle.source.lora)
        self._task.fetch_hub_settings()
        self._note_language()
        if labels is not None:
            self._task.set_labels(self._task.name_labels(labels))
        if new_labels:
            new_names = self._task.name_labels(new_labels)
            self._task.set_labels({**self._task.labels, **new_names})
        streamed = False
        if nlp is not None:
            training = nlp.config.interpolate()["training"]
            check_training(training)
            streamed = training["max_epochs"] == -1
            self._steps = planned_steps(training)
            check_checkpoint(nlp, component=self.name)
            if self.handle.is_in_output:
                self.handle.lm()  # spaCy deletes the folder before the first update
        # after the labels: `spacy-padellm.Corpus.v1` reads them
        check_get_examples(get_examples, "PaDeLLMNER.initialize")
        handle = self.handle
        if self._updates.optimizers and handle.trained and not handle.made_here:
            self._notices.goes_on(self.name)
        self._updates = Updates()
        initialize_task(
            self._task,
            get_examples,
            model=self.model,
            name=self.name,
            spans_key=self.cfg["spans_key"],
            streamed=streamed,
        )
        check_prompt(self._task.require_prompt(), self.training)
        # spaCy deletes the models of the training before when it begins: what its first
        # step would find is told before
        if nlp is not None and is_under_spacy_train():
            check_dev_corpus(nlp.config.interpolate())
            self._check_trainable()

    def _check_trainable(self) -> None:
        check_model(self._trainable(), self._task.require_prompt(), self.training)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Add the gradient of a batch, and make a step if there is an `sgd`.

        examples (Iterable[Example]): The batch; examples without gold annotation are
            left out.
        drop (float): Has no effect: causal LMs are fine-tuned without dropout. The
            first value other than 0 is reported as a warning.
        sgd (Optimizer | None): The optimizer.
        losses (dict[str, float] | None): The mean loss is added to the component's
            entry.
        RETURNS (dict[str, float]): The losses.
        RAISES (ValueError): If a gold label is unknown, a text does not fit the model,
            or the loss is not finite.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        if self.skips_step:
            return losses
        if drop and not self._warned_of_drop:
            logger.warning(Warnings.W105.format(name=self.name, drop=drop))
            self._warned_of_drop = True
        golds = self._golds(examples, "PaDeLLMNER.update", self._trainable)
        if golds:
            losses[self.name] += add_update(
                self._updates,
                golds,
                model=self.model,
                decoder=self.decoder,
                prompt=self._task.require_prompt(),
                settings=self.training,
            )
        for labels, _ in golds:  # only now: an update that failed taught nothing
            self._task.record_update(labels)
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def get_loss(
        self, examples: Iterable[Example], scores: object
    ) -> tuple[float, float]:
        """The loss of a batch; the model and its gradients do not change.

        The loss is that of the gold answers, token by token. It does not depend on
        the mentions that were predicted, so it needs a forward pass of its own.

        examples (Iterable[Example]): The batch; examples without gold annotation are
            left out.
        scores (object): The predictions for the batch, as `predict` returns them. Not
            used; part of spaCy's interface.
        RETURNS (tuple[float, float]): The mean loss, as `update` adds it to the losses,
            and its derivative with respect to the output of the component's `model`,
            which is the summed loss. Both are 0 if no example is annotated.
        RAISES (ValueError): If a gold label is unknown, a text does not fit the model,
            or the loss is not finite.
        """
        golds = self._golds(examples, "PaDeLLMNER.get_loss", self.handle.lm)
        if not golds:
            return 0.0, 0.0
        return mean_loss(
            golds,
            model=self.model,
            decoder=self.decoder,
            prompt=self._task.require_prompt(),
            settings=self.training,
        )

    def _golds(
        self,
        examples: Iterable[Example],
        method: str,
        get_lm: Callable[[], LanguageModel],
    ) -> list[tuple[dict[str, str], list[GoldText]]]:
        """The gold texts of a batch, by their labels."""
        if isinstance(examples, Iterable):
            examples = list(examples)  # they are read twice
        validate_examples(examples, method)

        def cut_for(doc_labels: DocLabels | None) -> CutWindows:
            get_job = partial(self._make_job, doc_labels, get_lm)
            # a server has no part in the training
            decoder = self.decoder if self.decoder.needs_weights else None
            return partial(self._cut, fits=Fits(cache(get_job), decoder=decoder))

        return group_gold_texts(
            examples,
            cut_for,
            name=self.name,
            spans_key=self.cfg["spans_key"],
            resolve_labels=self._task.resolve_labels,
        )

    def finish_update(self, sgd: Optimizer) -> None:
        """Apply the gradient of the updates since the last step.

        It is that of the mean loss over all their targets, as of a single batch.

        sgd (Optimizer): The optimizer.
        RAISES (ValueError): If `sgd` averages parameters, or is no AdamW.
        """
        tell_total(sgd.schedules, self._steps)
        if self._updates.weight:
            make_step(self._updates, self.handle.lm(), sgd, settings=self.training)
            # thresholds and calibration do not fit the new weights
            self._task.tuning = Tuning()

    def get_training_state(self) -> dict[str, Any] | None:
        """The state of the training, to be saved with `torch.save`: float32 weights,
        optimizers, tags, labels and random numbers.

        To be called between `finish_update` and the next `update`.

        RETURNS (dict[str, Any] | None): None before the first step.
        """
        if not self._updates.optimizers:
            return None
        state = get_state(self._updates, self.handle.lm())
        return {**state, "labels": self._task.updated_labels}

    def set_training_state(self, state: dict[str, Any]) -> None:
        """Continue training from a state that `get_training_state` returned.

        state (dict[str, Any]): The state.
        RAISES (ValueError): If the model cannot be loaded, or a part of the state has
            the wrong type.
        """
        set_state(self._updates, state, self._trainable(), settings=self.training)
        self._task.tuning = Tuning()  # as after the steps of the state
        self._task.record_update(as_mapping(state["labels"], "labels", as_name))

    def _trainable(self) -> LanguageModel:
        return self.handle.trainable(self._task.require_prompt().special_tokens)

    # Saving

    def to_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> None:
        """Save the component; `model` is a Hugging Face model folder.

        The folder is replaced when it is complete: after an error, and after the
        process is killed, the old one is there.

        path (str | Path): The component's folder.
        exclude (Iterable[str]): "vocab", "cfg", "model".
        RAISES (ValueError): If the folder is in the model's own folder, or above it.
        RAISES (OSError): If it cannot be written.
        """
        exclude = set(exclude)
        write_folder(self._saved_parts(exclude), path, exclude=exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> PaDeLLMNER:
        """Load the component with its weights; the folder is not needed any more then.

        path (str | Path): The component's folder.
        exclude (Iterable[str]): "vocab", "cfg", "model".
        RAISES (ValueError): If files are missing, or the model cannot be loaded.
        """
        with self.handle.kept_on_error():
            loaded = read_folder(self._parts(), Path(path), exclude=set(exclude))
            self._set_loaded(loaded)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = util.SimpleFrozenList()) -> bytes:
        """Serialize the component.

        exclude (Iterable[str]): "vocab", "cfg", "model".
        RAISES (ValueError): If the model is too large for one message (4 GiB).
        """
        exclude = set(exclude)
        return write_bytes(self._saved_parts(exclude), exclude=exclude)

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> PaDeLLMNER:
        """Load the component from the bytes of `to_bytes`.

        bytes_data (bytes): The bytes.
        exclude (Iterable[str]): "vocab", "cfg", "model".
        RAISES (ValueError): If the bytes cannot be read, or hold code that is not
            trusted.
        """
        with self.handle.kept_on_error():
            loaded = read_bytes(self._parts(), bytes_data, exclude=set(exclude))
            self._set_loaded(loaded)
        return self

    def _saved_parts(self, exclude: set[str]) -> Parts:
        settings = None
        if "model" not in exclude and not self.handle.empty:
            settings = self._task.settings(self.decoder, self.cfg["threshold"])
        # only now: the component may just have got the labels of a model on the hub
        return replace(self._parts(), settings=settings)

    def _parts(self) -> Parts:
        return Parts(
            self.name,
            {**self.cfg, "labels": self._task.labels},
            self.vocab,
            self.handle,
            self.decoder.needs_weights,
        )

    def _set_loaded(self, loaded: LoadedParts) -> None:
        labels = loaded.cfg.pop("labels", self._task.labels)
        loaded.cfg.pop("model_saved", None)
        cfg = {**self.cfg, **loaded.cfg}
        check_cfg(self.name, cfg)
        if loaded.model:
            task = self._make_task(labels, self._config_prompt)
            if task.prompt is None and self._task.prompt is not None:
                raise ValueError(Errors.P144.format(name=self.name))
            self._task, self._updates = task, Updates()
        else:
            self._task.set_labels(labels)
        self.cfg.update(cfg)

"""The component: spaCy's contracts, and the order in which the rooms are called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, get_args

import srsly
import torch
from spacy import util
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Optimizer

from spacy_padellm.decoding.base import Decoder, Found
from spacy_padellm.defaults import DEFAULT_CONFIG, DEFAULT_SCORE_WEIGHTS
from spacy_padellm.doc_stream import Read, read_docs
from spacy_padellm.errors import Errors
from spacy_padellm.gold import gold_texts
from spacy_padellm.holder import ModelHolder
from spacy_padellm.label_names import LabelNames, label_names, own_labels
from spacy_padellm.mentions import Dedup
from spacy_padellm.model import TreeModel, get_holder
from spacy_padellm.prompt import PRESETS, Prompt, PromptTokens
from spacy_padellm.scratch import make_lm
from spacy_padellm.settings import TaskSettings, settle
from spacy_padellm.spans import (
    AlignmentMode,
    DocMentions,
    Existing,
    annotate,
    gold_spans,
    place_mentions,
)
from spacy_padellm.tags import add_tags
from spacy_padellm.targets import GoldText, TrainingTree
from spacy_padellm.training import (
    TrainingSettings,
    apply_step,
    batches,
    make_optimizer,
)
from spacy_padellm.windows import SpanGetter

STREAM_FROM = 256  # Docs of a batch; smaller ones are asked for to get Docs early


@Language.factory(
    "padellm_ner",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config=DEFAULT_CONFIG,
    default_score_weights=DEFAULT_SCORE_WEIGHTS,
)
def make_padellm_ner(
    nlp: Language,
    name: str,
    model: Any,
    labels: dict[str, str | dict[str, str]],
    prompt: Any,
    decoder: Any,
    span_getter: Callable[[list[Doc]], list[list[Span]]],
    training: Any,
    scorer: Callable[..., dict[str, Any]] | None,
    spans_key: str,
    threshold: float | dict[str, float] | None,
    dedup: str,
    alignment_mode: str,
    existing: str,
) -> PaDeLLMNER:
    """Make the component; see `PaDeLLMNER`."""
    return PaDeLLMNER(
        nlp.vocab,
        model,
        name=name,
        labels=labels,
        prompt=prompt,
        decoder=decoder,
        span_getter=span_getter,
        training=training,
        scorer=scorer,
        spans_key=spans_key,
        threshold=threshold,
        dedup=dedup,
        alignment_mode=alignment_mode,
        existing=existing,
    )


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
            0..1, or that of each label; None takes the model's, if it has any.
        dedup (str): "on", "off" or "reversed": of a string under several labels, the
            likeliest keeps it, all do, or the least likely (paper, section 3.3).
        alignment_mode (str): "strict", "contract" or "expand": of a mention that cuts
            a token.
        existing (str): "overwrite" or "keep" the entities that a Doc has already.
        RAISES (ValueError): On unknown settings, or labels or a prompt that contradict
            the model's.
        """
        for setting, value, known in (
            ("dedup", dedup, Dedup),
            ("alignment_mode", alignment_mode, AlignmentMode),
            ("existing", existing, Existing),
        ):
            if value not in get_args(known):
                choices = ", ".join(get_args(known))
                message = Errors.P143.format(
                    value=value, setting=setting, name=name, known=choices
                )
                raise ValueError(message)
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.prompt = self._own_prompt = prompt
        self.decoder = decoder
        self.span_getter = span_getter
        self.training = training
        self.cfg: dict[str, Any] = {
            "labels": {},
            "threshold": threshold,
            "spans_key": spans_key,
            "dedup": dedup,
            "alignment_mode": alignment_mode,
            "existing": existing,
        }
        self._optimizer: torch.optim.AdamW | None = None
        self._updates = 0
        self._hub_asked = False
        self._model_thresholds: Mapping[str, float] = {}
        self._settle(label_names(labels, {}), self.holder.settings)

    @property
    def holder(self) -> ModelHolder:
        """The model's holder."""
        return get_holder(self.model)

    # Labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> dict[str, str]:
        """Label -> its name in the prompt, as `spacy init labels` writes it."""
        return dict(self.cfg["labels"])

    def add_label(self, label: str, name: str | None = None) -> int:
        """Add a label.

        label (str): The label.
        name (str | None): Its name in the prompt; None takes the label itself.
        RETURNS (int): 1 if it is new, else 0.
        RAISES (ValueError): If it is no string, or known to the model by another name.
        """
        named = label_names({label: name or label}, {})
        if label in self.cfg["labels"]:
            return 0
        labels = {**self.cfg["labels"], **named}
        self._settle(labels, self.holder.settings)
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
        names = label_names(labels, {**self._carried_labels(), **self.cfg["labels"]})
        if not names:
            raise ValueError(Errors.P140.format(name=self.name))
        self._settle(names, self.holder.settings)

    def _carried_labels(self) -> Mapping[str, str]:
        carried = self.holder.settings
        return carried.labels if carried else {}

    def _doc_labels(self, own: Any) -> dict[str, str]:
        """The labels of a Doc with this entry in its user data."""
        known = self.cfg["labels"]
        if own is None:
            return dict(known)
        return label_names(own, {**self._carried_labels(), **known})

    @property
    def threshold(self) -> float | Mapping[str, float]:
        """The lowest probability of a mention, or of each label's."""
        own: float | dict[str, float] | None = self.cfg["threshold"]
        return self._model_thresholds if own is None else own

    def _set_labels(self, labels: Mapping[str, str]) -> None:
        self.cfg["labels"] = dict(labels)
        for label in labels:
            # a label first seen in a memory zone would be freed with it
            self.vocab.strings.add(label)

    def _settle(self, labels: Mapping[str, str], carried: TaskSettings | None) -> None:
        settled, self.prompt = settle(
            labels=labels,
            prompt=self.prompt,
            carried=carried,
            source=self.holder.origin,
        )
        self._set_labels(settled)
        # thresholds were learnt for the weights as they came
        if carried is None or self.holder.trained:
            self._model_thresholds = {}
        else:
            self._model_thresholds = carried.thresholds

    def _ready(self) -> Prompt:
        """The prompt to work with, once the labels are known too.

        RAISES (ValueError): If there is none of either.
        """
        if not self._hub_asked:
            self._settle(self.cfg["labels"], self.holder.hub_settings())
            self._hub_asked = True
        if not self.cfg["labels"]:
            raise ValueError(Errors.P140.format(name=self.name))
        if self.prompt is None:
            if self.holder.empty:
                raise ValueError(Errors.P130)
            raise ValueError(Errors.P144.format(name=self.name))
        return self.prompt

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
        found = []
        for read in self._reads(docs):
            if read.error is not None:
                raise read.error
            found.append(self._place(read))
        return found

    def set_annotations(
        self, docs: Iterable[Doc], predictions: Sequence[DocMentions]
    ) -> None:
        """Write `doc.spans[spans_key]` and `doc.ents`."""
        for doc, found in zip(docs, predictions, strict=True):
            annotate(
                doc,
                found,
                spans_key=self.cfg["spans_key"],
                alignment_mode=self.cfg["alignment_mode"],
                threshold=self.threshold,
                existing=self.cfg["existing"],
            )

    def _annotated(self, docs: Iterable[Doc]) -> Iterator[Doc]:
        for read in self._reads(docs):
            doc, error = read.doc, read.error
            if error is None:
                try:
                    self.set_annotations([doc], [self._place(read)])
                except Exception as failure:
                    error = failure
            if error is None:
                yield doc
            else:
                self.get_error_handler()(self.name, self, [doc], error)

    def _reads(self, docs: Iterable[Doc]) -> Iterator[Read]:
        # Docs in a row with the same labels of their own are decoded together
        for own, run in groupby(docs, key=own_labels):
            decode = partial(self._decode, own)
            yield from read_docs(run, decode, self.span_getter)

    def _decode(self, own: Any, texts: Iterable[str]) -> Iterator[Found]:
        texts = iter(texts)
        first = next(texts, None)
        if first is None:
            return  # blank Docs need no model
        prompt = self._ready()
        labels = self._doc_labels(own)
        texts = chain((first,), texts)
        if not labels:  # the Doc asks for none
            yield from ([] for _ in texts)
            return
        if not self.decoder.needs_weights:
            tokens = self.holder.client_tokens(prompt)
            yield from self.decoder.stream(None, tokens, texts, labels)
            return
        lm = self.holder.lm()
        lm.model.eval()
        yield from self.decoder.stream(lm, lm.tokens_of(prompt), texts, labels)

    def _place(self, read: Read) -> DocMentions:
        placed = place_mentions(
            [read.doc], read.windows, read.mentions, dedup=self.cfg["dedup"]
        )
        return placed[0]

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
        validate_get_examples(get_examples, "PaDeLLMNER.initialize")
        if labels is not None:
            self._settle(label_names(labels, {}), self.holder.settings)
        found = self._find_labels(get_examples())
        if not self.labels:
            self._set_labels(dict(sorted(found.items())))
        if self.holder.empty:
            if self.prompt is None:
                self.prompt = PRESETS["compact"]
            prompt = self._ready()
            texts = [example.reference.text for example in get_examples()]
            names = list({**found, **self.cfg["labels"]}.values())
            shape = self.model.attrs["shape"]
            special_tokens = prompt.special_tokens
            self.holder.put(
                lambda: make_lm(texts + names, shape, special_tokens=special_tokens)
            )
        self._ready()

    def _find_labels(self, examples: Iterable[Example]) -> dict[str, str]:
        """The labels of examples, with their names in the prompt.

        RAISES (ValueError): If the component has labels, and an example has others.
        """
        found: dict[str, str] = {}
        for example in examples:
            own = own_labels(example.reference)
            if own is not None:
                found.update(self._doc_labels(own))
                continue
            for span in gold_spans(example.reference, self.cfg["spans_key"]) or []:
                if self.labels:
                    self._check_label(span.label_, self.labels)
                found.setdefault(span.label_, span.label_)
        return found

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
        drop (float): Not used: causal LMs are fine-tuned without dropout.
        sgd (Optimizer | None): The optimizer.
        losses (dict[str, float] | None): The mean loss is added under the name.
        RETURNS (dict[str, float]): The losses.
        RAISES (ValueError): If a gold label is unknown, a text does not fit the model,
            or the loss is no number.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "PaDeLLMNER.update")
        asked = self._golds(examples)
        if asked:
            prompt = self._ready()
            lm = self.holder.trainable(prompt.special_tokens)
            lm.model.train()
            self._model_thresholds = {}
            if self.training.gradient_checkpointing:
                # the reentrant kind gives adapters no gradient
                lm.model.gradient_checkpointing_enable({"use_reentrant": False})
            tokens = lm.tokens_of(prompt)
            trees = [
                tree
                for labels, golds in asked
                for tree in self._targets(tokens, golds, labels)
            ]
            total = sum(tree.weight for tree in trees)
            for batch in batches(trees, self.training.max_batch_tokens):
                loss, backprop = self.model.begin_update(batch)
                backprop(1 / total)
                losses[self.name] += float(loss) / total
            self._updates += 1
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def _targets(
        self,
        prompt: PromptTokens,
        golds: Sequence[GoldText],
        labels: Mapping[str, str],
    ) -> list[TrainingTree]:
        trees = self.decoder.targets(
            prompt,
            golds,
            labels,
            mention_prefix_loss=self.training.mention_prefix_loss,
        )
        if weight := self.training.tag_loss:
            self.holder.lm().tags = True
            add_tags(trees, golds, prompt=prompt, labels=labels, weight=weight)
        return trees

    def _golds(
        self, examples: Iterable[Example]
    ) -> list[tuple[dict[str, str], list[GoldText]]]:
        """The gold texts, those with the same labels together."""
        asked = []
        ordered = sorted(examples, key=lambda eg: repr(own_labels(eg.reference)))
        for own, run in groupby(ordered, key=lambda eg: own_labels(eg.reference)):
            labels = self._doc_labels(own)
            golds = gold_texts(
                list(run),
                self.span_getter,
                spans_key=self.cfg["spans_key"],
                check_label=partial(self._check_label, known=labels),
            )
            if golds and labels:
                asked.append((labels, golds))
        return asked

    def finish_update(self, sgd: Optimizer) -> None:
        """Apply the mean gradient of the updates since the last step.

        RAISES (ValueError): If `sgd` averages parameters.
        """
        if self._updates == 0:
            return
        if self._optimizer is None:
            self._optimizer = make_optimizer(self.holder.lm())
        apply_step(self._optimizer, sgd, scale=1 / self._updates)
        self._updates = 0

    def _check_label(self, label: str, known: Collection[str]) -> None:
        if label not in known:
            message = Errors.P142.format(
                label=label, name=self.name, known=", ".join(known)
            )
            raise ValueError(message)

    # Saving

    def to_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> None:
        """Write the component; its model becomes a Hugging Face folder, `model`.

        path (str | Path): The component's folder.
        exclude (Iterable[str]): "vocab", "cfg", "model".
        """
        has_model = "model" not in exclude and not self.holder.empty
        cfg = {**self.cfg, "model_saved": has_model}
        writers: dict[str, Callable[[Path], None]] = {
            "cfg": lambda p: srsly.write_json(p, cfg),
            "vocab": lambda p: self.vocab.to_disk(p, exclude=exclude),
        }
        if has_model:
            settings = self._task_settings()
            writers["model"] = lambda p: self.holder.save(p, settings)
        util.to_disk(path, writers, exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> PaDeLLMNER:
        """Read what `to_disk` wrote; the weights are loaded at first use.

        path (str | Path): The component's folder.
        exclude (Iterable[str]): "vocab", "cfg", "model".
        RAISES (ValueError): If files are missing.
        """
        path = Path(path)
        if "cfg" not in exclude:
            if not (path / "cfg").is_file():
                raise ValueError(Errors.P146.format(path=path, file="cfg"))
            self._load_cfg(srsly.read_json(path / "cfg"))
        if "vocab" not in exclude and (path / "vocab").is_dir():
            self.vocab.from_disk(path / "vocab", exclude=exclude)
        if "model" not in exclude:
            if (path / "model").is_dir():
                weights = self.decoder.needs_weights
                self.holder.open(path / "model", weights=weights)
                self.prompt = self._own_prompt
            elif self.cfg.get("model_saved"):
                raise ValueError(Errors.P145.format(path=path, name=self.name))
        self._loaded()
        return self

    def to_bytes(self, *, exclude: Iterable[str] = util.SimpleFrozenList()) -> bytes:
        """The component as bytes.

        exclude (Iterable[str]): "vocab", "cfg", "model".
        RAISES (ValueError): If the model is too large for one message (4 GiB).
        """
        writers: dict[str, Callable[[], Any]] = {
            "cfg": lambda: srsly.json_dumps(self.cfg),
            "vocab": lambda: self.vocab.to_bytes(exclude=exclude),
        }
        if not self.holder.empty:
            settings = self._task_settings()
            writers["model"] = lambda: self.holder.to_files(settings)
        return util.to_bytes(writers, exclude)

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> PaDeLLMNER:
        """Read what `to_bytes` gave.

        exclude (Iterable[str]): "vocab", "cfg", "model".
        """
        readers: dict[str, Callable[[Any], Any]] = {
            "cfg": lambda data: self._load_cfg(srsly.json_loads(data)),
            "vocab": lambda data: self.vocab.from_bytes(data, exclude=exclude),
            "model": self._load_files,
        }
        util.from_bytes(bytes_data, readers, exclude)
        self._loaded()
        return self

    def _task_settings(self) -> TaskSettings:
        prompt, own = self._ready(), self.cfg["threshold"]
        thresholds = own if isinstance(own, dict) else self._model_thresholds
        return TaskSettings(self.cfg["labels"], prompt, dict(thresholds))

    def _load_cfg(self, cfg: dict[str, Any]) -> None:
        self.cfg = cfg
        self._set_labels(cfg["labels"])

    def _load_files(self, files: dict[str, bytes]) -> None:
        self.holder.from_files(files)
        self.prompt = self._own_prompt

    def _loaded(self) -> None:
        self._optimizer = None
        self._updates = 0
        self._hub_asked = False
        self._settle(self.cfg["labels"], self.holder.settings)

"""The `Decoder` protocol: from a `DecodeJob` and texts to mentions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.tokens import PromptTokens

_T = TypeVar("_T")

# a text's mentions, or the error that kept it from being decoded
DecodeResult = list[Mention] | Exception

COUNTS_AND_MENTIONS = "counts, then mentions"  # the answers of the paper's models


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """What all texts of a stream have in common.

    prompt (PromptTokens): The prompt, bound to the model's tokenizer.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    lm (LanguageModel | None): The model; None for decoders that do not need weights.
    forced (ForcedOutputs | None): Answers to use instead of the model's. The model
        still does all its work, so that speed can be measured with any weights.
    """

    prompt: PromptTokens
    labels: Mapping[str, str]
    lm: LanguageModel | None = None
    forced: ForcedOutputs | None = None

    @property
    def model(self) -> LanguageModel:
        """The model, for decoders that need weights."""
        assert self.lm is not None
        return self.lm


class Decoder(Protocol):
    """Finds mentions of labels in texts."""

    @property
    def needs_weights(self) -> bool:
        """Whether it runs the model in this process. If not, `DecodeJob.lm` is None."""
        ...

    @property
    def output_format(self) -> str:
        """The answers that a model must have been trained to give, in words."""
        ...

    @property
    def default_threshold(self) -> float:
        """The lowest score of a mention that counts if no threshold is set, in 0..1."""
        ...

    def stream(self, job: DecodeJob, texts: Iterable[str]) -> Iterator[DecodeResult]:
        """Decode a stream of texts, with a bounded look-ahead.

        job (DecodeJob): The model, the prompt and the labels.
        texts (Iterable[str]): The texts; none is empty or only whitespace.
        YIELDS (list[Mention] | Exception): For each text, in order, its mentions by
            label in the order of `job.labels`, then by index; `TextMentions` if the
            decoder knows how many to expect. If a text cannot be decoded, the error
            instead, such as a ValueError for a text that does not fit the model's
            context.
        RAISES (Exception): If no text can be decoded.
        """
        ...


@runtime_checkable
class Remote(Protocol):
    """A decoder whose model runs elsewhere, with a context of its own."""

    def context(self, prompt: PromptTokens) -> int | None:
        """The longest sequence in tokens that the model takes.

        RETURNS (int | None): None if there is no limit, or none that is told.
        RAISES (ConnectionError, ValueError): If it cannot be asked now.
        """
        ...

    def in_turn(self, function: Callable[[], _T]) -> _T:
        """Call a function that tokenizes, while no other does."""
        ...


@runtime_checkable
class Sized(Protocol):
    """A decoder that tells the room that its answers need beside a text."""

    def answer_room(self, job: DecodeJob, context: int) -> Callable[[int], int]:
        """Tokens that may follow the longest prompt of a text.

        job (DecodeJob): The prompt and the labels.
        context (int): The longest sequence in tokens that the model takes.
        RETURNS (Callable[[int], int]): Tokens of one copy of a text -> tokens that are
            kept free for all that follows; more for longer texts, or as many.
        """
        ...


def ask_each(
    ask: Callable[[Sequence[str]], Sequence[CountPrompts]], texts: Sequence[str]
) -> list[CountPrompts | ValueError]:
    """Make the prompts of texts, of which some may be errors.

    ask (Callable[[Sequence[str]], Sequence[CountPrompts]]): Makes the prompts.
    texts (Sequence[str]): The texts.
    RETURNS (list[CountPrompts | ValueError]): For each text, its prompts, or the error
        with which the tokenizer gave up.
    RAISES (ValueError): If no text has prompts, such as those of a wrong label.
    """
    try:
        return list(ask(texts))
    except ValueError:
        ask(["a"])  # a wrong label fails with any text
    prompts: list[CountPrompts | ValueError] = []
    for text in texts:
        try:
            prompts += ask([text])
        except ValueError as error:
            prompts.append(error)
    return prompts


def decode(
    decoder: Decoder,
    lm: LanguageModel | None,
    prompt: PromptTokens,
    texts: Sequence[str],
    labels: Mapping[str, str],
    *,
    forced: ForcedOutputs | None = None,
) -> list[list[Mention]]:
    """Decode a list of texts; see `Decoder.stream`.

    decoder (Decoder): The decoder.
    lm, prompt, labels, forced: See `DecodeJob`.
    texts (Sequence[str]): The texts; none is empty or only whitespace.
    RETURNS (list[list[Mention]]): The mentions of each text.
    RAISES (Exception): The error of the first text that could not be decoded.
    """
    decoded = []
    for result in decoder.stream(DecodeJob(prompt, labels, lm, forced), texts):
        if isinstance(result, Exception):
            raise result
        decoded.append(result)
    return decoded

"""The templates of prompts, and their presets."""

from __future__ import annotations

import string
from dataclasses import asdict, dataclass, fields
from typing import Any

from spacy_padellm.errors import Errors

COMPACT_MENTIONS = 32  # mention indexes with their own token in the compact preset
MOST_COPIES = 8  # of a text in its template, so that a model folder cannot ask for more
_SHOWN = 200  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Prompt:
    """The templates of the pieces of a prompt, in their order in the prompt.

    text (str): Contains `{text}`, once or more times. In its second copy, each token of
        a text has seen the whole text, also in a causal model.
    label (str): Contains `{label}`. The model answers with the count.
    count (str): Contains `{count}`, and the end of the count.
    mention (str): Contains `{n}`, the mention's index from 1. The model answers with
        the mention and `<eos>`.
    none (str): The answer for "no mention", without its `<eos>`. Decoding always
        understands both "0" and an immediate `<eos>`.
    whole (bool): Tokenize the prompt as a whole instead of piece by piece. The authors'
        published checkpoints were trained this way.
    special_tokens (tuple[str, ...]): Added to the tokenizer of a model that is trained
        with this prompt.
    prefix_lm (bool): Let the tokens of the text attend to each other in both
        directions; later tokens attend only to earlier ones (a prefix LM: Raffel et
        al. 2020, section 3.2.1). If there are copies of the text, only those of the
        last one do. Only for models that were trained this way.
    """

    text: str
    label: str
    count: str
    mention: str
    none: str = ""
    whole: bool = False
    special_tokens: tuple[str, ...] = ()
    prefix_lm: bool = False

    def __post_init__(self) -> None:
        for piece in ("text", "label", "count", "mention"):
            field = "n" if piece == "mention" else piece
            template = getattr(self, piece)
            try:
                parsed = string.Formatter().parse(template)
                # a format such as {text:>9999999999} would fill the memory
                found = [tuple(rest) for _, *rest in parsed if rest[0] is not None]
            except ValueError:
                found = []
            most = MOST_COPIES if piece == "text" else 1
            if set(found) != {(field, "", None)} or len(found) > most:
                times = f"once, or up to {most} times" if most > 1 else "exactly once"
                raise ValueError(
                    Errors.P101.format(
                        piece=piece, field=field, times=times, value=template[:_SHOWN]
                    )
                )
        if not self.count.lstrip().startswith("{count"):
            raise ValueError(Errors.P159.format(value=self.count[:_SHOWN]))

    @property
    def copies(self) -> int:
        """How often the prompt contains the text."""
        return len(split_fields(self.text)) - 1

    def bidirectional_span(self, text: tuple[int, int]) -> tuple[int, int]:
        """Get the tokens of a text that attend to each other in both directions.

        text (tuple[int, int]): Start and end of the text's tokens in the prompt, in its
            last copy.
        RETURNS (tuple[int, int]): The same for a prefix LM; else an empty range.
        """
        return text if self.prefix_lm else (0, 0)

    def to_dict(self) -> dict[str, Any]:
        """Get the settings as JSON values."""
        settings = asdict(self)
        settings["special_tokens"] = list(self.special_tokens)
        return settings

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Prompt:
        """The reverse of `to_dict`.

        settings (dict[str, Any]): The settings.
        RAISES (ValueError): On unknown or missing settings.
        """
        known = {field.name for field in fields(cls)}
        if not {"text", "label", "count", "mention"} <= set(settings) <= known:
            names = ", ".join(sorted(settings))[:_SHOWN]
            raise ValueError(Errors.P102.format(found=names, known=sorted(known)))
        specials = tuple(settings.get("special_tokens", ()))
        return cls(**{**settings, "special_tokens": specials})


_PAPER_EN = Prompt(
    text="text:\n{text}\n",
    label="entity type:\n{label}\n\n<num>",
    count="{count}\n",
    mention="<mention {n}>",
)
_PAPER_ZH = Prompt(
    text="文本:\n{text}\n",
    label="指定NER标签:\n{label}\n\n<数量>",
    count="{count}\n",
    mention="<第{n}文段>",
)
PRESETS: dict[str, Prompt] = {
    "paper-en": _PAPER_EN,
    "paper-zh": _PAPER_ZH,
    # the published English checkpoints use the Chinese mention template
    "released-en": Prompt(
        text=_PAPER_EN.text,
        label=_PAPER_EN.label,
        count=_PAPER_EN.count,
        mention=_PAPER_ZH.mention,
        none="0",
        whole=True,
    ),
    "released-zh": Prompt(
        text=_PAPER_ZH.text,
        label=_PAPER_ZH.label,
        count=_PAPER_ZH.count,
        mention=_PAPER_ZH.mention,
        none="0",
        whole=True,
    ),
    "compact": Prompt(
        text="{text}",
        label="<|label|>{label}<|count|>",
        count="{count}<|mentions|>",
        mention="<|mention {n}|>",
        special_tokens=(
            "<|label|>",
            "<|count|>",
            "<|mentions|>",
            *(f"<|mention {n}|>" for n in range(1, COMPACT_MENTIONS + 1)),
        ),
    ),
}


def make_prompt(preset: str, *, prefix_lm: bool = False, **templates: str) -> Prompt:
    """Make a prompt from a preset.

    preset (str): A key of PRESETS.
    prefix_lm (bool): See `Prompt`.
    templates (str): New values for `text`, `label`, `count`, `mention`, `none`.
    RAISES (ValueError): On an unknown preset or a template without its field.
    """
    if preset not in PRESETS:
        raise ValueError(Errors.P103.format(preset=preset, known=", ".join(PRESETS)))
    settings = {**PRESETS[preset].to_dict(), "prefix_lm": prefix_lm}
    return Prompt.from_dict({**settings, **templates})


def split_fields(template: str) -> list[str]:
    """Split a template at its fields.

    template (str): The template.
    RETURNS (list[str]): The strings before, between and after them.
    """
    strings = [""]
    # a literal brace ends a piece, too
    for literal, field, *_ in string.Formatter().parse(template):
        strings[-1] += literal
        if field is not None:
            strings.append("")
    return strings


def end_of_template(template: str) -> str:
    """Get the string after the last field of a template.

    template (str): The template.
    """
    return split_fields(template)[-1]

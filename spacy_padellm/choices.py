"""Settings of the component that are one of a few words."""

from __future__ import annotations

from typing import get_args

from spacy_padellm.errors import Errors
from spacy_padellm.mentions import Dedup
from spacy_padellm.spans import AlignmentMode, Existing


def check_choices(name: str, *, dedup: str, alignment_mode: str, existing: str) -> None:
    """Check settings of a component.

    name (str): The component's name, for the error message.
    dedup, alignment_mode, existing (str): The settings.
    RAISES (ValueError): If one is not among its choices.
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

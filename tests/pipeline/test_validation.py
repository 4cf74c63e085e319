"""What confection checks of typed arguments, and what is checked by hand."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from confection import ConfigValidationError
from pydantic import Field, PositiveInt, conint
from spacy.util import registry

from spacy_padellm.decoding.tree.decoder import TreeDecoder


def resolve(kind: Any, value: Any) -> Any:
    """Give a value to a registered function whose argument has a type."""

    def make(value: kind) -> Any:
        return value

    make.__annotations__["value"] = kind
    registry.misc.register("test_validation", func=make)
    block = {"@misc": "test_validation", "value": value}
    return registry.resolve({"block": block})["block"]


@pytest.mark.parametrize(
    "kind", [Annotated[int, Field(ge=1)], PositiveInt, conint(ge=1)], ids=str
)
def test_validation_bounds_of_types_are_not_checked_by_confection(kind: Any) -> None:
    assert resolve(kind, 0) == 0


def test_validation_strings_of_digits_are_ints_for_confection() -> None:
    assert resolve(int, "7") == "7"


def test_validation_messages_of_confection_have_no_remedy() -> None:
    with pytest.raises(ConfigValidationError) as error:
        resolve(Literal["on", "off"], "of")
    (line,) = (line for line in str(error.value).split("\n") if "Literal" in line)
    assert line == "block -> value\tat root: 'of' is not typing.Literal['on', 'off']"


@pytest.mark.parametrize(("kind", "value"), [(int, 1.5), (bool, 1), (float, True)])
def test_validation_plain_types_are_checked_by_confection(
    kind: type, value: Any
) -> None:
    with pytest.raises(ConfigValidationError):
        resolve(kind, value)


@pytest.mark.parametrize("value", [0, "7", True])
def test_validation_bounds_are_checked_by_the_decoder(value: Any) -> None:
    block = {"@misc": "spacy-padellm.TreeDecoder.v1", "max_mentions": value}
    expected = ConfigValidationError if value is True else ValueError
    with pytest.raises(expected, match="max_mentions"):
        registry.resolve({"decoder": block})
    with pytest.raises(ValueError, match=r"at least 1\.$"):
        TreeDecoder(max_mentions=value)

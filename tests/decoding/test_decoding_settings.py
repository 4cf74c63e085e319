"""Settings of the decoders that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.pipeline.registry import make_batch_decoder, make_tree_decoder


def test_decoding_settings_negative_draft_is_an_error() -> None:
    with pytest.raises(ValueError, match="draft_tokens is -1"):
        TreeDecoder(draft_tokens=-1)


@pytest.mark.parametrize("setting", ["max_mentions", "max_mention_tokens"])
@pytest.mark.parametrize("decoder", [TreeDecoder, BatchDecoder])
def test_decoding_settings_limit_under_one_is_an_error(
    decoder: type, setting: str
) -> None:
    with pytest.raises(ValueError, match=f"{setting} is 0"):
        decoder(**{setting: 0})


@pytest.mark.parametrize("value", ["5", 2.5, True])
@pytest.mark.parametrize("setting", ["max_mentions", "max_batch_tokens"])
@pytest.mark.parametrize("decoder", [TreeDecoder, BatchDecoder])
def test_decoding_settings_limit_that_is_no_whole_number_is_an_error(
    decoder: type, setting: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"{setting} is {value!r}.*a whole number"):
        decoder(**{setting: value})


@pytest.mark.parametrize(
    "setting",
    [
        "draft_tokens",
        "tag_weight",
        "sure_tag_probability",
        "min_count_probability",
    ],
)
def test_decoding_settings_setting_that_is_no_number_is_an_error(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} is '0.5'. Set it"):
        TreeDecoder(**{setting: "0.5"})


@pytest.mark.parametrize("devices", ["cpu", [1]])
@pytest.mark.parametrize(
    "make", [TreeDecoder, BatchDecoder, make_tree_decoder, make_batch_decoder]
)
def test_decoding_settings_devices_that_are_no_list_are_an_error(
    make: Any, devices: object
) -> None:
    with pytest.raises(ValueError, match=r"decoder's devices is .*Set it to a list"):
        make(devices=devices)


@pytest.mark.parametrize("value", [0.0, -1.0, 1.5])
def test_decoding_settings_count_probability_out_of_range_is_an_error(
    value: float,
) -> None:
    with pytest.raises(ValueError, match=f"min_count_probability is {value}"):
        TreeDecoder(min_count_probability=value)

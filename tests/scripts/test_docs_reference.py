"""Tests of the pages that are made from the code (scripts/docs_reference.py)."""

from __future__ import annotations

from scripts.docs_reference import list_commands


def test_docs_reference_shows_defaults_of_options_that_are_zero() -> None:
    [row] = [x for x in list_commands().splitlines() if "`--gpus-per-worker`" in x]
    assert row.endswith("| `0` |")


def test_docs_reference_shows_no_default_of_flags_that_are_off() -> None:
    [row] = [x for x in list_commands().splitlines() if "`--all-prompts`" in x]
    assert row.endswith("|  |")

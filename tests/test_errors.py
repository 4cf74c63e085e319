"""The messages in errors.py."""

import ast
from pathlib import Path

from spacy_padellm import errors


def test_errors_codes_are_used_once() -> None:
    source = Path(errors.__file__).read_text("utf8")
    codes = [
        target.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert len(codes) == len(set(codes))

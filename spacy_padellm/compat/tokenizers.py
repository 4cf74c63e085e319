"""Uses of tokenizers that its documentation does not promise."""

from __future__ import annotations


def is_panic(error: BaseException) -> bool:
    """Whether an error is that of Rust code which gave up.

    Seen on tokenizers 0.21.4 and 0.23.3: it is raised where the pattern of a
    tokenizer takes too many steps, is no `Exception`, and cannot be imported.
    """
    return type(error).__name__ == "PanicException"

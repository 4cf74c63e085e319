"""Uses of other libraries that their documentation does not promise.

Each function names the version that it was last checked with. `tests/compat` fails when
an upgrade changes one of them.
"""

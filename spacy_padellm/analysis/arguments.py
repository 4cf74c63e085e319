"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    str, typer.Argument(help="Pipeline folder or package, or bundled-en")
]
RenameOption = Annotated[
    str, typer.Option(help="Rename labels of the data: old=new, comma-separated")
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Write the figures as JSON")
]

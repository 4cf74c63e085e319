"""`python -m spacy padellm init-config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

import spacy_padellm
from spacy_padellm.errors import Errors
from spacy_padellm.writable import exit_if_unwritable, make_writable, write_whole

CONFIGS = {
    "train": "a small model from scratch, on a CPU",
    "continue": "the bundled model further, or teach it new labels",
    "finetune": "a model from the Hugging Face hub",
    "paper": "the same with the paper's settings",
    "quantize": "a fine-tuned model further with its weights in 4 bits",
}
_KNOWN = "; ".join(f"{name}: {text}" for name, text in CONFIGS.items())


def init_config_cli(
    name: Annotated[
        str, typer.Argument(help=f"What the config trains. {_KNOWN}", metavar="NAME")
    ],
    output: Annotated[
        Path | None,
        typer.Argument(help="The file to write. Default: NAME.cfg; - prints it"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace the file, if any")
    ] = False,
) -> None:
    """Write a config file for `python -m spacy train`."""
    try:
        config = read_config(name)
        if str(output) == "-":
            typer.echo(config, nl=False)
            return
        path = output or Path(f"{name.removesuffix('.cfg')}.cfg")
        make_writable(path)
        if path.exists() and not force:
            raise ValueError(Errors.P271.format(path=path))
    except ValueError as error:
        msg.fail(str(error), exits=1)
    with exit_if_unwritable(path):
        write_whole(path, config.encode())
    msg.good(f"Config: {path}")
    # the model that quantize.cfg goes on with
    model = " --paths.model MODEL" if "\nmodel = null\n" in config else ""
    msg.text(
        f"Train with: python -m spacy train {path} --output training "
        f"--paths.train train.spacy --paths.dev dev.spacy{model}"
    )
    if "\n[initialize.components.padellm_ner.new_labels]\n" in config:
        msg.text(
            "For each label that the model does not have yet add its name in the "
            "prompt, such as: --initialize.components.padellm_ner.new_labels.DRUG drug"
        )


def read_config(name: str) -> str:
    """The text of a config that comes with the package.

    name (str): Its name, such as "train".
    RAISES (ValueError): If there is none of this name.
    """
    name = name.removesuffix(".cfg")
    if name not in CONFIGS:
        raise ValueError(Errors.P270.format(name=name, known=", ".join(CONFIGS)))
    package = Path(spacy_padellm.__file__).parent
    # setup.py puts the configs into the package; a clone has them beside it
    folder = package / "configs"
    if not folder.is_dir():
        folder = package.parent / "configs"
    return (folder / f"{name}.cfg").read_text("utf8")

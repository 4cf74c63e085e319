"""What the tests of trust share: small models, and code that leaves a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import make_lm

MARKED = "def {name}(*args, **kwargs): pass\nopen({path!r}, 'w').close()\n"


def write_model(folder: Path) -> Path:
    """A folder with a small random model."""
    lm = make_lm("llama")
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


def write_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """A folder with a LoRA adapter of a base model."""
    import peft

    lm = make_lm("llama")
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"])
    model = peft.get_peft_model(lm.model, config)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    change(folder / "adapter_config.json", **settings)
    return folder


def change(path: Path, **settings: Any) -> None:
    """Set keys of a JSON file."""
    content = json.loads(path.read_text("utf8")) if path.is_file() else {}
    path.write_text(json.dumps({**content, **settings}), "utf8")


def write_code(path: Path, trace: Path, *, name: str = "generate") -> None:
    """Write a module that makes the file `trace` when it is imported."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MARKED.format(name=name, path=str(trace)), "utf8")

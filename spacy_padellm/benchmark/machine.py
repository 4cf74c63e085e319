"""Facts about the machine of a run."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "tokenizers", "spacy", "spacy-padellm")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """The processor, the device, torch's threads and the packages' versions."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if _has_affinity() else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = None
    return facts


def _has_affinity() -> bool:
    return hasattr(os, "sched_getaffinity")


def _processor() -> str:
    """The CPU's name, and its instructions for bfloat16."""
    name = platform.processor() or platform.machine()
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return name
    facts = {}
    for line in path.read_text("utf8").splitlines():
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    flags = facts.get("flags", "").split()
    fast = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    return " ".join([facts.get("model name", name), *fast])

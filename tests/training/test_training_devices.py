"""Training on GPUs: real ones, and those of `pretended_gpu`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import make_lm, on_cuda
from pretended_gpu import PretendedGPUs
from thinc.api import Adam

from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import Prompt, make_prompt
from spacy_padellm.training import loss
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.thinc_model import TreeModel, get_handle, make_causal_lm
from spacy_padellm.training.update import Updates, add_update, make_step, mean_loss

# with layers of our own, and, as it drops numbers, with those of transformers
KINDS = ["llama", "gpt2"]
LABELS = {"PER": "person", "LOC": "location"}
GOLDS = [
    (
        LABELS,
        [
            GoldText(
                "Angela Merkel met Macron in Berlin",
                {"PER": ["Angela Merkel", "Macron"], "LOC": ["Berlin"]},
                [(0, 13, "PER"), (18, 24, "PER"), (28, 34, "LOC")],
            ),
            GoldText("nothing in Paris", {"LOC": ["Paris"]}, [(11, 16, "LOC")]),
            GoldText("2 banks", {}),
        ],
    )
]
TARGETS = {"llama": ["q_proj", "up_proj"], "gpt2": ["c_attn"]}


def make_model(kind: str, device: str, **settings: Any) -> TreeModel:
    model = make_causal_lm("unused", device=device, **settings)
    lm = make_lm(kind)
    for module in lm.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # devices draw other random numbers
    get_handle(model).use(lm)
    return model


class Trainer:
    """A model in training."""

    def __init__(
        self,
        model: TreeModel,
        *,
        prefix_lm: bool = False,
        settings: TrainingSettings | None = None,
    ) -> None:
        self.model, self.updates = model, Updates()
        self.prompt: Prompt = make_prompt("compact", prefix_lm=prefix_lm)
        self.settings = settings or TrainingSettings()

    def _arguments(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "decoder": TreeDecoder(),
            "prompt": self.prompt,
            "settings": self.settings,
        }

    def update(self) -> float:
        torch.manual_seed(0)  # adapters are drawn at the first update
        return add_update(self.updates, GOLDS, **self._arguments())

    def step(self) -> None:
        sgd = Adam(0.001, use_averages=False, L2=0.01)
        make_step(self.updates, self.lm, sgd, settings=self.settings)

    def loss(self) -> float:
        return mean_loss(GOLDS, **self._arguments())[0]

    @property
    def lm(self) -> Any:
        return get_handle(self.model).lm()

    def gradients(self) -> dict[str, torch.Tensor]:
        assert self.updates.masters is not None
        named = self.updates.masters.named().items()
        return {name: w.grad.cpu() for name, w in named if w.grad is not None}


def on_cpu_and(
    device: str,
    kind: str,
    *,
    dtype: Any = "float32",
    lora: bool = False,
    **options: Any,
) -> tuple[Trainer, Trainer]:
    """A trainer on the CPU in float32, and the same one on another device."""
    model: dict[str, Any] = {}
    if lora:
        transposed = kind == "gpt2"
        model["lora"] = {
            "r": 2,
            "target_modules": TARGETS[kind],
            "fan_in_fan_out": transposed,
        }
    return (
        Trainer(make_model(kind, "cpu", dtype="float32", **model), **options),
        Trainer(make_model(kind, device, dtype=dtype, **model), **options),
    )


def same_gradients(found: Trainer, expected: Trainer) -> bool:
    gradients, expected_gradients = found.gradients(), expected.gradients()
    assert gradients.keys() == expected_gradients.keys()
    assert sum(float(gradient.norm()) for gradient in expected_gradients.values()) > 0
    for name, gradient in expected_gradients.items():
        difference = (gradients[name] - gradient).norm()
        assert difference <= 1e-3 * gradient.norm() + 1e-6, name
    return True


SETTINGS = {
    "adamw": TrainingSettings(),
    "muon": TrainingSettings(muon=True),
    "small passes": TrainingSettings(max_batch_tokens=1),
    "checkpointing": TrainingSettings(gradient_checkpointing=True),
    "quantized": TrainingSettings(quantized=True),
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_training_devices_gradients_are_those_of_a_cpu(
    kind: str, settings: str, gpus: PretendedGPUs
) -> None:
    expected, found = on_cpu_and("cuda:1", kind, settings=SETTINGS[settings])
    before = expected.update()
    assert found.update() == pytest.approx(before, rel=1e-4)
    gpus.forget()  # the model was moved
    assert found.update() == pytest.approx(expected.update(), rel=1e-4)
    assert found.lm.device == torch.device("cuda:1")
    # the losses are read once an update
    assert len(gpus.waits) == 1
    assert not gpus.pageable
    assert same_gradients(found, expected)
    for trainer in (found, expected):
        trainer.step()
    assert found.loss() < before
    assert found.loss() == pytest.approx(expected.loss(), rel=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_training_devices_tags_are_learnt_as_on_a_cpu(
    kind: str, gpus: PretendedGPUs
) -> None:
    settings = TrainingSettings(tag_loss=0.5)
    expected, found = on_cpu_and("cuda", kind, prefix_lm=True, settings=settings)
    assert found.update() == pytest.approx(expected.update(), rel=1e-4)
    assert found.lm.tags.inside
    gpus.forget()  # the model was moved
    assert found.update() == pytest.approx(expected.update(), rel=1e-4)
    assert not gpus.pageable
    assert same_gradients(found, expected)


@pytest.mark.parametrize("muon", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_training_devices_bfloat16_has_float32_masters(
    kind: str, muon: bool, gpus: PretendedGPUs
) -> None:
    trainer = Trainer(make_model(kind, "cuda"), settings=TrainingSettings(muon=muon))
    before = trainer.update()
    assert trainer.lm.dtype == torch.bfloat16
    assert trainer.updates.masters is not None
    weights = trainer.updates.masters.named().values()
    assert {weight.dtype for weight in weights} == {torch.float32}
    assert {str(weight.device) for weight in weights} == {"cuda:0"}
    gpus.forget()
    trainer.step()
    # torch asks C++ there for the device, which knows no GPU
    assert not [wait for wait in gpus.waits if "clip_grad.py" not in wait]
    for _ in range(3):
        trainer.update()
        trainer.step()
    assert trainer.loss() < before


@pytest.mark.parametrize("kind", KINDS)
def test_training_devices_lora_is_trained_as_on_a_cpu(
    kind: str, gpus: PretendedGPUs
) -> None:
    pytest.importorskip("peft")
    expected, found = on_cpu_and("cuda", kind, lora=True)
    assert found.update() == pytest.approx(expected.update(), rel=1e-4)
    assert any("lora_" in name for name in found.gradients())
    assert not any("base_layer" in name for name in found.gradients())
    assert same_gradients(found, expected)
    found.step()
    gpus.forget()
    prompt = found.lm.tokens_of(found.prompt)
    job = DecodeJob(prompt, LABELS, found.lm)
    (result,) = TreeDecoder().stream(job, ["Angela Merkel"])
    assert isinstance(result, list)
    assert gpus.waits


@pytest.mark.parametrize("kind", KINDS)
def test_training_devices_texts_are_decoded_between_updates(
    kind: str, gpus: PretendedGPUs
) -> None:
    trainer = Trainer(make_model(kind, "cuda", dtype="float32"))
    first = trainer.update()
    prompt = trainer.lm.tokens_of(trainer.prompt)
    results = TreeDecoder(max_batch_tokens=60).stream(
        DecodeJob(prompt, LABELS, trainer.lm), ["Angela Merkel in Berlin"] * 6
    )
    first_result = next(results)
    # `update` sets the model to training, and the next text back to evaluation
    assert trainer.update() == pytest.approx(first)
    assert trainer.lm.model.training
    assert list(results) == [first_result] * 5
    assert not trainer.lm.model.training


def test_training_devices_new_tensors_may_be_on_a_gpu_by_default(
    gpus: PretendedGPUs,
) -> None:
    settings = TrainingSettings(tag_loss=0.5)
    expected, found = on_cpu_and("cuda", "llama", prefix_lm=True, settings=settings)
    with torch.device("cuda"):
        found.update()
    expected.update()
    assert same_gradients(found, expected)


def test_training_devices_a_tensor_left_on_the_cpu_is_refused(
    gpus: PretendedGPUs, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(make_model("llama", "cuda"))
    monkeypatch.setattr(loss, "send", lambda tensor, device: tensor)
    with pytest.raises(RuntimeError, match="one device, found cpu and cuda:0"):
        trainer.update()


# On a real GPU


def error(found: Trainer, expected: Trainer) -> float:
    """The relative error of all gradients."""
    gradients, expected_gradients = found.gradients(), expected.gradients()
    assert gradients.keys() == expected_gradients.keys()
    apart = sum(
        float((gradients[k] - expected_gradients[k]).square().sum())
        for k in expected_gradients
    )
    norm = sum(
        float(gradient.square().sum()) for gradient in expected_gradients.values()
    )
    return float((apart / norm) ** 0.5)


@on_cuda
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_training_on_cuda_gradients_and_step_are_those_of_a_cpu(
    kind: str, settings: str, dtype: Any
) -> None:
    expected, found = on_cpu_and("cuda", kind, dtype=dtype, settings=SETTINGS[settings])
    before = expected.update()
    low = dtype == "bfloat16"
    assert found.update() == pytest.approx(before, rel=0.05 if low else 1e-3)
    assert str(found.lm.dtype) == f"torch.{dtype}"
    assert error(found, expected) < (0.3 if low else 1e-3)  # a wrong one: about 1
    for trainer in (found, expected):
        trainer.step()
    assert found.loss() < before
    assert found.loss() == pytest.approx(expected.loss(), rel=0.1 if low else 0.01)


@on_cuda
def test_training_on_cuda_new_tensors_may_be_there_by_default() -> None:
    settings = TrainingSettings(tag_loss=0.5)
    expected, found = on_cpu_and("cuda", "llama", prefix_lm=True, settings=settings)
    with torch.device("cuda"):
        found.update()
    expected.update()
    assert error(found, expected) < 1e-3


@on_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_training_on_cuda_lora_is_trained_as_on_a_cpu(kind: str) -> None:
    pytest.importorskip("peft")
    expected, found = on_cpu_and("cuda", kind, lora=True)
    assert found.update() == pytest.approx(expected.update(), rel=1e-3)
    assert any("lora_" in name for name in found.gradients())
    assert not any("base_layer" in name for name in found.gradients())
    assert error(found, expected) < 1e-3
    for trainer in (found, expected):
        trainer.step()
    assert found.loss() == pytest.approx(expected.loss(), rel=0.01)

from __future__ import annotations

import pytest
import torch
from conftest import make_lm
from thinc.api import SGD, Adam, Optimizer, RAdam
from torch import nn

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.training import optimizers
from spacy_padellm.training.master_weights import MasterWeights
from spacy_padellm.training.optimizers import apply_step, make_optimizers


def with_gradients(lm: LanguageModel) -> list[nn.Parameter]:
    """The model's parameters, with the same gradients each time."""
    torch.manual_seed(0)
    parameters = list(lm.model.parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    return parameters


def optimizers_of(
    lm: LanguageModel, *, muon: bool = False
) -> list[torch.optim.Optimizer]:
    return make_optimizers(lm.model, MasterWeights(lm.model).named(), muon=muon)


def sgd(*, averages: bool = False) -> Adam:
    return Adam(
        0.01, beta1=0.8, beta2=0.9, L2=0.1, grad_clip=0.5, use_averages=averages
    )


def halved_and_clipped(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad *= 0.5
    torch.nn.utils.clip_grad_norm_(parameters, 0.5)


def adamw(parameters: list[nn.Parameter]) -> torch.optim.AdamW:
    norms = [p for p in parameters if p.dim() < 2]
    rest = [p for p in parameters if p.dim() > 1]
    groups = [{"params": rest}, {"params": norms, "weight_decay": 0.0}]
    settings = {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}
    return torch.optim.AdamW(groups, **settings, fused=True)


def test_optimizers_step_is_adamw_with_spacys_settings() -> None:
    lm, other = make_lm("llama"), make_lm("llama")
    found, expected = with_gradients(lm), with_gradients(other)
    apply_step(optimizers_of(lm), sgd(), scale=0.5)
    halved_and_clipped(expected)
    adamw(expected).step()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("fast_bf16", [True, False])
def test_optimizers_muon_steps_the_layers_matrices(
    fast_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizers, "fast_bf16", lambda device: fast_bf16)
    lm, other = make_lm("llama"), make_lm("llama")
    found, expected = with_gradients(lm), with_gradients(other)
    apply_step(optimizers_of(lm, muon=True), sgd(), scale=0.5)
    halved_and_clipped(expected)
    matrices = [
        parameter
        for name, parameter in other.model.named_parameters()
        if "proj" in name
    ]
    assert matrices
    others = {id(p) for p in expected} - {id(p) for p in matrices}
    torch.optim.Muon(
        matrices, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    ).step()
    adamw([p for p in expected if id(p) in others]).step()
    # torch rounds to bfloat16; a step is 0.2 of the rate by its mean square
    near = {} if fast_bf16 else {"rtol": 0, "atol": 0.01 * 0.2 * 0.1}
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, **near)
    stepped = zip(found, expected, strict=True)
    assert all(torch.equal(a, b) for a, b in stepped) == fast_bf16


@pytest.mark.parametrize("tied", [True, False])
def test_optimizers_muon_leaves_the_vocabulary_to_adamw(tied: bool) -> None:
    lm = make_lm("llama")
    if not tied:
        lm.model.lm_head.weight = nn.Parameter(lm.model.lm_head.weight.clone())
    first, muon = optimizers_of(lm, muon=True)
    vocabulary = {id(lm.model.lm_head.weight), id(lm.model.model.embed_tokens.weight)}
    stepped = {id(p) for group in muon.param_groups for p in group["params"]}
    assert not stepped & vocabulary
    rest = {id(p) for group in first.param_groups for p in group["params"]}
    assert stepped | rest == {id(p) for p in lm.model.parameters()}


def test_optimizers_muon_leaves_frozen_parameters_alone() -> None:
    lm = make_lm("llama")
    for name, parameter in lm.model.named_parameters():
        parameter.requires_grad = "q_proj" in name
    [muon] = optimizers_of(lm, muon=True)
    stepped = [p for group in muon.param_groups for p in group["params"]]
    assert len(stepped) == lm.model.config.num_hidden_layers


def test_optimizers_averages_are_an_error() -> None:
    lm = make_lm("llama")
    with pytest.raises(ValueError, match="Set use_averages = false"):
        apply_step(optimizers_of(lm), sgd(averages=True), scale=1)


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (SGD(0.01, use_averages=False), "SGD"),
        (RAdam(0.01, use_averages=False), "RAdam"),
        (
            Adam(0.01, L2=0.1, L2_is_weight_decay=False, use_averages=False),
            "L2 regularization in the gradient",
        ),
    ],
)
def test_optimizers_other_kinds_are_refused(other: Optimizer, kind: str) -> None:
    lm = make_lm("llama")
    with_gradients(lm)
    with pytest.raises(ValueError, match=f"AdamW, but .* asks for {kind}"):
        apply_step(optimizers_of(lm), other, scale=1.0)

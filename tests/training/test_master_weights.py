from __future__ import annotations

import torch
from torch import nn

from spacy_padellm.training.master_weights import MasterWeights


def layer(dtype: torch.dtype = torch.bfloat16) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3).to(dtype)


def test_master_weights_take_steps_that_bfloat16_cannot_add() -> None:
    model = layer()
    model.weight.data.fill_(1)
    masters = MasterWeights(model)
    weight = masters.named()["weight"]
    for _ in range(16):
        weight.add_(0.001)
        masters.publish()
    assert torch.equal(model.weight, torch.full((3, 4), 1.016).bfloat16())


def test_master_weights_add_up_gradients_in_float32() -> None:
    model = layer()
    masters = MasterWeights(model)
    for value in (1.0, 0.001):
        model.weight.grad = torch.full((3, 4), value, dtype=torch.bfloat16)
        masters.collect()
        assert model.weight.grad is None
    grad = masters.named()["weight"].grad
    assert grad is not None
    torch.testing.assert_close(grad, torch.full((3, 4), 1.001))
    assert masters.named()["bias"].grad is None


def test_master_weights_of_float32_parameters_are_the_parameters() -> None:
    model = layer(torch.float32)
    masters = MasterWeights(model)
    assert masters.named()["weight"] is model.weight
    model.weight.grad = torch.ones(3, 4)
    masters.collect()
    masters.publish()
    assert model.weight.grad is not None


def test_master_weights_leave_out_frozen_parameters() -> None:
    model = layer()
    model.bias.requires_grad = False
    assert set(MasterWeights(model).named()) == {"weight"}


def test_master_weights_zero_grad_forgets_both_gradients() -> None:
    model = layer()
    masters = MasterWeights(model)
    model.weight.grad = torch.ones_like(model.weight)
    masters.collect()
    model.weight.grad = torch.ones_like(model.weight)
    masters.zero_grad()
    assert model.weight.grad is None
    assert masters.named()["weight"].grad is None


def test_master_weights_load_sets_the_model() -> None:
    model, other = layer(), layer()
    weights = {name: w + 1 for name, w in MasterWeights(other).named().items()}
    masters = MasterWeights(model)
    masters.load(weights)
    torch.testing.assert_close(masters.named(), weights)
    assert torch.equal(model.bias, weights["bias"].bfloat16())

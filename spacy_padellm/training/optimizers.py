"""AdamW and Muon, with the settings of spaCy's optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from spacy_padellm.compat.torch import muon_in_float32, scale_in_place
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.choose import fast_bf16


def make_optimizers(
    model: nn.Module, weights: Mapping[str, torch.Tensor], *, muon: bool = False
) -> list[torch.optim.Optimizer]:
    """AdamW for the trainable parameters; weight decay only for matrices.

    model (nn.Module): The model.
    weights (Mapping[str, torch.Tensor]): The float32 weights by the names of the
        model's parameters; see `MasterWeights`.
    muon (bool): Whether to use Muon (Jordan et al., 2024) for the weight matrices of
        linear layers, with updates scaled to the size of AdamW's (Liu et al., 2025).
    RETURNS (list[torch.optim.Optimizer]): Each of the weights is in one of them.
    """
    names = _names_of_matrices(model).intersection(weights) if muon else set()
    matrices = [weight for name, weight in weights.items() if name in names]
    others = [weight for name, weight in weights.items() if name not in names]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in others if p.dim() > 1], "decays": True},
        {"params": [p for p in others if p.dim() < 2], "decays": False},
    ]
    optimizers: list[torch.optim.Optimizer] = []
    if others:
        filled = [group for group in groups if group["params"]]
        optimizers.append(torch.optim.AdamW(filled, fused=True))
    if matrices:
        group = {"params": matrices, "decays": True}
        optimizers.append(torch.optim.Muon([group], adjust_lr_fn="match_rms_adamw"))
    return optimizers


def check_adamw(
    *, averages: bool, radam: bool, sgd: bool, l2_in_gradient: bool
) -> None:
    """Check that spaCy's optimizer asks for what AdamW does.

    averages (bool): Whether it averages parameters.
    radam, sgd (bool): Whether it is RAdam or SGD.
    l2_in_gradient (bool): Whether L2 is added to the gradient, not to the step.
    RAISES (ValueError): If it averages parameters, or is no AdamW.
    """
    if averages:
        raise ValueError(Errors.P124)
    kinds = {
        "RAdam": radam,
        "SGD": sgd,
        "L2 regularization in the gradient": l2_in_gradient,
    }
    for kind, is_asked in kinds.items():
        if is_asked:
            raise ValueError(Errors.P941.format(kind=kind))


def _names_of_matrices(model: nn.Module) -> set[str]:
    """The names of the linear layers' weights, except the output embeddings."""
    output: Any = model.get_output_embeddings()  # type: ignore[operator]
    # an adapter wraps the layer
    vocabulary = {id(p) for p in output.parameters()}
    matrices = {
        id(layer.weight)
        for layer in model.modules()
        if isinstance(layer, nn.Linear) and id(layer.weight) not in vocabulary
    }
    return {name for name, p in model.named_parameters() if id(p) in matrices}


def apply_step(
    optimizers: Sequence[torch.optim.Optimizer], sgd: Any, *, scale: float
) -> None:
    """Apply the accumulated gradients with the settings of spaCy's optimizer.

    optimizers (Sequence[torch.optim.Optimizer]): The optimizers of the parameters.
    sgd (thinc.api.Optimizer): `[training.optimizer]`, at its current step. `grad_clip`
        limits the global norm. `beta1`, `beta2` and `eps` are used for AdamW only.
    scale (float): Factor of the gradients.
    RAISES (ValueError): If `sgd` averages parameters, or is no AdamW.
    """
    check_adamw(
        averages=sgd.averages is not None,
        radam=sgd.use_radam,
        sgd=not (sgd.b1 or sgd.b2),
        l2_in_gradient=bool(sgd.L2) and not sgd.L2_is_weight_decay,
    )
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group["lr"] = float(sgd.learn_rate)
        group["weight_decay"] = float(sgd.L2) if group["decays"] else 0.0
        if "betas" in group:
            group["betas"] = (float(sgd.b1), float(sgd.b2))
            group["eps"] = float(sgd.eps)
    parameters = [p for group in groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    if scale != 1:
        scale_in_place(gradients, scale)
    if sgd.grad_clip:
        torch.nn.utils.clip_grad_norm_(parameters, float(sgd.grad_clip))
    fast = all(map(fast_bf16, {p.device for p in parameters}))
    with nullcontext() if fast else muon_in_float32():
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

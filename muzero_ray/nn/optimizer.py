"""How weights follow their gradients: the optimiser, and the schedule of its learning rate."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from muzero_ray.nn.base_network import Network


def learning_rate(step: int, *, total_steps: int, warmup_steps: int, peak: float, final: float) -> float:
    """Returns the learning rate of training step `step`, counted from 0.

    It rises in equal parts to `peak` at step warmup_steps - 1, and falls from there to `final` at step
    total_steps - 1 along half a cosine; it stays `final` beyond the budget.

    >>> [round(learning_rate(s, total_steps=7, warmup_steps=2, peak=1.0, final=0.0), 3) for s in range(8)]
    [0.5, 1.0, 0.905, 0.655, 0.345, 0.095, 0.0, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    start = max(warmup_steps - 1, 0)
    progress = min(1.0, (step - start) / max(1, total_steps - 1 - start))
    return final + (peak - final) * (1 + math.cos(math.pi * progress)) / 2


def make_optimizer(network: Network, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, fused into one kernel, with decay on the weights of linear layers, convolutions and LSTMs only.

    Biases and norms only shift and stretch, and a row of `action_rows` gets a gradient only when
    its action is drawn: decay would pull all of these towards 0 for no gain.

    On a GPU the learning rate is a tensor there, which a recorded step reads; see `recorded_step`.
    """
    decayed = [module.weight for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for module in network.modules():
        if isinstance(module, nn.LSTMCell):
            decayed += [module.weight_ih, module.weight_hh]
    names = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in network.parameters() if id(parameter) not in names]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    _suit_device(optimizer)
    return optimizer


def set_learning_rate(optimizer: torch.optim.AdamW, rate: float) -> None:
    """The rate of the steps from now on, those that were recorded included."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def step_if_finite(optimizer: torch.optim.AdamW, numbers: Tensor) -> None:
    """Takes a step if all of these are finite, and else leaves weights and optimiser as they are.

    On a GPU it does not wait for what they are. On a CPU they are known, and to be told costs a step twice the time.
    """
    finite = numbers.isfinite().all()
    if numbers.is_cuda:
        # What torch's own scaler of gradients tells a fused optimiser: 1 where it has found an infinity, else 0.
        optimizer.found_inf = 1 - finite.float()  # type: ignore[attr-defined]
        optimizer.step()
    elif finite:
        optimizer.step()


def load_optimizer(optimizer: torch.optim.AdamW, state: dict[str, Any]) -> None:
    """Continues from the `state_dict()` of an optimiser that may have been on another device.

    A checkpoint keeps the layout in memory that moments had there, see `networks.place`, but a fused optimiser relies
    on that of their parameters.
    """
    optimizer.load_state_dict(state)
    _suit_device(optimizer)
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if moment.shape == parameter.shape and moment.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(moment)


def _suit_device(optimizer: torch.optim.AdamW) -> None:
    """What of the options of an optimiser depends on where its parameters are."""
    device = optimizer.param_groups[0]["params"][0].device
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        group["capturable"] = device.type == "cuda"
        group["lr"] = torch.tensor(rate, device=device) if group["capturable"] else rate

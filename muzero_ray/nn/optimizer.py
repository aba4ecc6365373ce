"""How weights follow their gradients: the optimiser, and the schedule of its learning rate."""

import math

import torch
from torch import nn

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
    """AdamW, fused into one kernel, with decay on the weights of linear layers and convolutions only.

    Biases and norms only shift and stretch, and a row of `action_rows` gets a gradient only when
    its action is drawn: decay would pull all of these towards 0 for no gain.
    """
    decayed = [module.weight for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    names = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in network.parameters() if id(parameter) not in names]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, fused=True)


def lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Gives the optimiser's moments the layout of their parameters in memory, which a fused optimiser relies on.

    A checkpoint keeps the layout that they had on the device they come from; see `networks.place`.
    """
    for parameter, state in optimizer.state.items():
        for name, moment in state.items():
            if moment.shape == parameter.shape and moment.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(moment)

"""`ValuePrefix`: rewards as differences of sums, which an LSTM adds up on the way.

In which of a few steps a reward falls is often hard to foresee (does the ball pass the paddle in this frame or in the
next?), where it is clear that it falls. A network that is asked for the sum of the rewards so far is wrong for as long
as it takes to be sure, and right again behind that step.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from muzero_ray.nn.base_network import zero_
from muzero_ray.nn.support import expectation


class ValuePrefix(nn.Module):
    """Remembers, along a path through the model, what the rewards since its start, or the last restart, are.

    A memory is what a latent state carries of the way to it, R = 2 M + 2 numbers `[h | c | n | p]`: what the LSTM
    keeps, h and c of M numbers each, the n transitions that they are of, and the sum p of the rewards before the last
    of these. With x the features of the state reached, and `decode` the mean of the bins under a head's logits:

        restart:     h, c, n = 0                    where n = `steps`
        before:      p' = decode(head(h))           0 where n = 0
        transition:  h', c' = LSTM(x, (h, c));  n' = n + 1
        head(h)      = S2 relu(S1 h + s1) + s2      logits of the sum, restarted with the memory
        reward       = decode(head(h')) - p'

    The last layer starts at zero, as those of other heads. All of it works in float32 whatever other layers do, for it
    adds up over several steps, and a reward is a small difference of sums.

    Args:
        features: numbers that are told of a state.
        size: M.
        hidden: width of the head's hidden layer.
        bins: `[S_r]` values that the head's logits stand for.
        steps: transitions after which it starts anew; no more than are unrolled in training.

    Source: EfficientZero, Ye et al., arXiv:2111.00210, section 4.2 and appendix A: the value prefix, and that memory
    starts anew every 5 steps of a search as in training.
    """

    bins: Tensor

    def __init__(self, features: int, size: int, hidden: int, bins: Tensor, steps: int) -> None:
        super().__init__()
        self.memory_size = 2 * size + 2
        self.steps = steps
        self._sizes = [size, size, 1, 1]
        self.lstm = nn.LSTMCell(features, size)
        self.head_1 = nn.Linear(size, hidden)
        self.head_2 = nn.Linear(hidden, len(bins))
        zero_(self.head_2)
        self.register_buffer("bins", bins, persistent=False)

    def begin(self, states: Tensor) -> Tensor:
        """`[B, R]` memories of the start, for `[B, H]` states that no transition led to."""
        return states.new_zeros(len(states), self.memory_size)

    def advance(self, features: Tensor, memories: Tensor) -> Tensor:
        """`[B, features]` of states reached and `[B, R]` memories of those before to the `[B, R]` memories there."""
        hidden, cell, count, _ = torch.split(memories, self._sizes, dim=-1)
        goes_on = (count < self.steps).to(memories.dtype)
        hidden, cell, count = hidden * goes_on, cell * goes_on, count * goes_on
        with torch.no_grad():
            before = expectation(self._head(hidden), self.bins).unsqueeze(-1) * (count > 0)
        with torch.autocast(memories.device.type, enabled=False):
            hidden, cell = self.lstm(features.float(), (hidden, cell))
        return torch.cat([hidden, cell, count + 1, before], dim=-1)

    def sum_logits(self, memories: Tensor) -> Tensor:
        """`[..., R]` memories to `[..., S_r]` logits of the sum of the rewards since the memory's start."""
        return self._head(memories[..., : self._sizes[0]])

    def sum_before(self, memories: Tensor) -> Tensor:
        """`[..., R]` memories to the `[...]` sums of the rewards before the last transition."""
        return memories[..., -1]

    def _head(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            logits: Tensor = self.head_2(F.relu(self.head_1(hidden)))
            return logits


def prefix_targets(rewards: Tensor, mask: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """What `ValuePrefix` should say at every step of a window: the sums of its rewards, which start anew.

    The target of step k, counted from 0, adds up the rewards of steps j to k, where j is the last multiple of `steps`
    up to k; it is known where all of them are.

    Args:
        rewards: `[B, K]`, of the transitions of a window.
        mask: `[B, K]`, 1 where a reward is known and 0 where it is not.
        steps: transitions after which a sum starts anew.

    Returns:
        `[B, K]` sums, not discounted, and their `[B, K]` mask. Of a game for two they add up what each mover was told,
        whoever that was: only differences are ever used.

    Source: EfficientZero, arXiv:2111.00210, section 4.2. Its text discounts the rewards of a prefix; its published code
    does not, and the results are the code's.

    >>> rewards, mask = torch.tensor([[1., 0., 2., 4., 8.]]), torch.tensor([[1., 1., 1., 1., 0.]])
    >>> sums, known = prefix_targets(rewards, mask, steps=3)
    >>> sums.tolist(), known.tolist()
    ([[1.0, 1.0, 3.0, 4.0, 12.0]], [[1.0, 1.0, 1.0, 1.0, 0.0]])
    """
    parts = zip(torch.split(rewards, steps, dim=1), torch.split(mask, steps, dim=1), strict=True)
    sums, known = zip(*((told.cumsum(dim=1), counts.cumprod(dim=1)) for told, counts in parts), strict=True)
    return torch.cat(sums, dim=1), torch.cat(known, dim=1)

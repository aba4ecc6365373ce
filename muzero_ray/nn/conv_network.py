"""`ConvNetwork`: representation, dynamics and prediction for boards and frames, as residual towers.

What it computes is written out in the class's docstring. It plans with latent states that are boards
themselves and travel flattened, so that search, loss and learner treat it as they treat the MLP. Frames
come to it as a board, too: through a `downsampling.Downsampling`.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.nn.base_network import Heads, Network, scale_latent, zero_
from muzero_ray.nn.blocks import SampleNorm, convolution, tower
from muzero_ray.nn.downsampling import Downsampling
from muzero_ray.nn.value_prefix import ValuePrefix

FEW_PLANES: Final = 16
"""Planes to which a latent state is reduced before a dense layer reads all cells at once (EfficientZero: 16). Half of
the planes of a new network may be negative in every cell of whatever it sees: with four, little would be left."""


class ConvNetwork(Network):
    """A residual tower for observations `[C_o, H, W]`, whose latent state is a board of C = `channels` planes.

    With o the observation, h a latent state, a an action, pictured as planes where the game draws it
    (`GameSpec.action_planes`) and else a learned row E[a], added to every cell; `conv` a convolution of 3 x 3
    with padding 0, N a normalisation of one sample over all its planes and cells with a factor and an offset
    for every plane, and `scale` as in `networks.MuZeroNetwork`:

        block(x)         = x + conv(relu(N(conv(x))))

        representation:  h  = scale(blocks(relu(N(conv(o)))))
        dynamics:        h' = scale(blocks(h + relu(N(conv([h, a])))))          where a is pictured
                         h' = scale(blocks(h + relu(N(conv(h) + E[a]))))        else
                         and h' handed to the other player, where turns alternate, see below
        prediction:      [u | v | w] = relu(P1 h + p1), the same in every cell
                         y = relu(S1 [v, mean(w), max(w)] + s1)                  v of all cells at once
                         [reward logits | value logits | turn logit] = S2 y + s2
                         policy logits = Q u + q in every cell, see below        where `action_cells` are given
                         policy logits = Q u + q of all cells at once            else

    Frames have a `downsampling` in place of relu(N(conv(o))), and no pictures of actions. Of an action as MuZero feeds
    it to the dynamics of Atari, a plane of ones among planes of zeros, E[a] is what a convolution of 1 x 1 makes; one
    of 3 x 3 would differ from it at the border only.

    With `value_prefix_steps`, the reward logits are those of a sum instead, which an LSTM makes of relu(V h + v) of all
    cells along the way; what it remembers travels behind the state. See `value_prefix.ValuePrefix`.

    A layer that is the same in every cell is a convolution of 1 x 1. The mean and the largest number of each plane of w
    tell of what may be anywhere, such as a line of stones, which v alone has to learn cell by cell. With
    `action_cells`, Q says in every cell and for every plane of moves how probable the move is, as in AlphaZero, and an
    action reads its own cell; actions that have none, such as a pass, are told by another layer from the mean of u
    over the cells.

    Where turns alternate, mine becomes the other's with every move: the first half of the planes of a latent state and
    the second change places (one in the middle stays), so that the dynamics has to say only what a move changes. Where
    players see the board from their own sides (`turn_cells`), it is turned round as well.

    Nothing is normalised over a batch, so that what is said of a state never depends on those beside it: search
    asks in batches of any size, and would otherwise plan in another network than the one that was trained. Floats
    are taken as they are, for planes of 0 and 1 need no normalisation (`network.normalize_observations` says
    nothing here); uint8 is divided by 255. The last layers of the heads start at zero, as in the MLP.

    A state travels as `[H * W * C]`, cell by cell: that is how convolutions on a CPU are fastest, and lets
    layers that are the same in every cell be matrix products.

    With `consistency`, a projector reduces a state to a few planes and these to n = `head_size` numbers; the
    predictor is n-n/2-n. See `networks.MuZeroNetwork`.

    Source: AlphaZero, Silver et al., Science 2018, for towers, planes of moves and policy; MuZero, arXiv:1911.08265,
    appendix E and F, for the dynamics; KataGo, Wu, arXiv:1902.10565, for means and maxima over the board; group
    normalisation with one group, Wu and He, arXiv:1803.08494.

    Raises:
        ValueError: if the game's observations or pictures of actions are no boards of one size.
    """

    action_planes: Tensor  # [A, H, W, P] uint8, where the game draws its actions
    turn_cells: Tensor  # [H * W] int64, where each player sees the board from his own side
    policy_index: Tensor  # [A] int64, where policy logits are told by the cell: which of them is an action's

    def __init__(
        self, config: NetworkConfig, spec: GameSpec, consistency: bool, downsampling: Downsampling | None = None
    ) -> None:
        height, width = _board_shape(spec) if downsampling is None else downsampling.board
        channels, head, cells = config.channels, config.head_size, height * width
        super().__init__(
            config,
            spec,
            state_size=cells * channels,
            normalizes_observations=False,
            consistency=consistency,
        )
        few = FEW_PLANES
        self._board = (height, width, channels)
        self._cells = (cells, channels)
        self.value_prefix: ValuePrefix | None = None
        if config.value_prefix_steps > 0:
            self.value_prefix_planes = nn.Linear(channels, few)
            self.value_prefix = ValuePrefix(
                cells * few, config.value_prefix_size, head, self.reward_bins, config.value_prefix_steps
            )
            self.latent_size += self.value_prefix.memory_size
        by_state = self.reward_size if self.value_prefix is None else 0  # reward logits that are told by a state alone
        self._scalar_sizes = [by_state, self.value_size, self.turn_size]

        self.downsampling = downsampling
        if downsampling is None:
            self.representation_1 = convolution(spec.input_shape[0], channels)
            self.representation_norm = SampleNorm(channels)
        self.representation_blocks = tower(channels, config.blocks)
        drawn = 0 if spec.action_planes is None else spec.action_planes.shape[1]
        self.dynamics_1 = convolution(channels + drawn, channels)
        if spec.action_planes is None:
            self.action_rows = nn.Embedding(spec.num_actions, channels)
        else:
            by_cell = np.ascontiguousarray(spec.action_planes.transpose(0, 2, 3, 1))
            self.register_buffer("action_planes", torch.from_numpy(by_cell), persistent=False)
        self.draws_actions = drawn > 0
        self.dynamics_norm = SampleNorm(channels)
        dynamics_blocks = config.blocks if config.dynamics_blocks is None else config.dynamics_blocks
        self.dynamics_blocks = tower(channels, dynamics_blocks)
        self.alternates = spec.num_players == 2 and spec.alternating
        self.turns_board = spec.turn_cells is not None
        if spec.turn_cells is not None:
            self.register_buffer("turn_cells", torch.from_numpy(spec.turn_cells.astype(np.int64)), persistent=False)

        self.policy_is_by_cell = spec.action_cells is not None
        self._hidden_planes = [channels if self.policy_is_by_cell else few, few, channels]
        self.prediction_1 = nn.Linear(channels, sum(self._hidden_planes))
        self.scalars_1 = nn.Linear(cells * few + 2 * channels, head)
        self.scalars_2 = nn.Linear(head, sum(self._scalar_sizes))
        zero_(self.scalars_2)
        if spec.action_cells is None:
            self.policy = nn.Linear(cells * few, spec.num_actions)
            zero_(self.policy)
        else:
            self._make_policy_by_cell(spec.action_cells, cells, channels)
        if consistency:
            self.consistency_planes = nn.Linear(channels, few)
            self.consistency_projector = nn.Sequential(nn.Linear(cells * few, head), nn.ReLU(), nn.Linear(head, head))
            self.consistency_predictor = nn.Sequential(
                nn.Linear(head, max(1, head // 2)), nn.ReLU(), nn.Linear(max(1, head // 2), head)
            )

    def _make_policy_by_cell(self, action_cells: np.ndarray, cells: int, channels: int) -> None:
        """Layers and index of a policy whose logits come cell by cell, those of actions without a cell behind them."""
        off_board = action_cells < 0
        num_off_board = int(off_board.sum())
        move_planes = int(action_cells.max(initial=0)) // cells + 1
        plane, cell = np.divmod(action_cells, cells)
        index = np.where(off_board, cells * move_planes + np.cumsum(off_board) - 1, cell * move_planes + plane)
        self.policy = nn.Linear(channels, move_planes)
        zero_(self.policy)
        self.acts_off_board = num_off_board > 0
        if self.acts_off_board:
            self.policy_off_board = nn.Linear(channels, num_off_board)
            zero_(self.policy_off_board)
        self.register_buffer("policy_index", torch.from_numpy(index.astype(np.int64)), persistent=False)
        # Thousands of logits need not be picked where they come in order: half a millisecond per call in shogi.
        self._comes_in_order = np.array_equal(index, np.arange(cells * move_planes + num_off_board))

    def represent(self, observations: Tensor) -> Tensor:
        """See `Network.represent`."""
        x = observations.float()
        if self.observation_scale != 1.0:
            x = x * self.observation_scale
        x = x.contiguous(memory_format=torch.channels_last)
        if self.downsampling is not None:
            x = self.downsampling(x)
        else:
            x = F.relu(self.representation_norm(self.representation_1(x)), inplace=True)
        states = _to_latents(self.representation_blocks(x))
        return states if self.value_prefix is None else torch.cat([states, self.value_prefix.begin(states)], dim=-1)

    def step(self, latents: Tensor, actions: Tensor) -> Tensor:
        """See `Network.step`."""
        boards = self._states(latents).reshape(-1, *self._board)
        inputs = boards
        if self.draws_actions:
            inputs = torch.cat([boards, self.action_planes[actions].to(boards.dtype)], dim=-1)
        x = self.dynamics_1(inputs.permute(0, 3, 1, 2))
        if not self.draws_actions:
            x = x + self.action_rows(actions)[:, :, None, None]
        x = F.relu(self.dynamics_norm(x), inplace=True) + boards.permute(0, 3, 1, 2)
        reached = _to_latents(self.dynamics_blocks(x))
        if self.alternates:
            reached = self._handed_over(reached)
        if self.value_prefix is None:
            return reached
        features = F.relu(self.value_prefix_planes(reached.view(-1, *self._cells))).flatten(1)
        return torch.cat([reached, self.value_prefix.advance(features, self._memories(latents))], dim=-1)

    def _handed_over(self, latents: Tensor) -> Tensor:
        """`[B, H]` latent states as the other player sees them."""
        boards = latents.view(-1, *self._cells)
        half = boards.shape[-1] // 2
        mine, middle, others = torch.split(boards, [half, boards.shape[-1] - 2 * half, half], dim=-1)
        boards = torch.cat([others, middle, mine], dim=-1)
        if self.turns_board:
            boards = boards.index_select(1, self.turn_cells)
        return boards.flatten(1)

    def predict(self, latents: Tensor) -> Heads:
        """See `Network.predict`."""
        hidden = F.relu(self.prediction_1(self._cell_by_cell(latents)), inplace=True)
        for_policy, in_place, anywhere = torch.split(hidden, self._hidden_planes, dim=-1)
        for_scalars = torch.cat([in_place.flatten(-2), anywhere.mean(dim=-2), anywhere.amax(dim=-2)], dim=-1)
        outputs = self.scalars_2(F.relu(self.scalars_1(for_scalars)))
        reward_logits, value_logits, turn_logits = torch.split(outputs, self._scalar_sizes, dim=-1)
        if self.value_prefix is not None:
            reward_logits = self.value_prefix.sum_logits(self._memories(latents))
        return Heads(reward_logits, value_logits, self._policy_logits(for_policy), turn_logits)

    def _policy_logits(self, hidden: Tensor) -> Tensor:
        """`[..., H * W, planes]` to `[..., A]`."""
        if not self.policy_is_by_cell:
            logits: Tensor = self.policy(hidden.flatten(-2))
            return logits
        # Contiguous, so that the product adds the bias itself: with many planes, another pass would cost a tenth.
        logits = self.policy(hidden.contiguous()).flatten(-2)
        if self.acts_off_board:
            logits = torch.cat([logits, self.policy_off_board(hidden.mean(dim=-2))], dim=-1)
        return logits if self._comes_in_order else logits.index_select(-1, self.policy_index)

    def project(self, latents: Tensor) -> Tensor:
        """See `Network.project`."""
        reduced = F.relu(self.consistency_planes(self._cell_by_cell(latents)))
        projection: Tensor = self.consistency_projector(reduced.flatten(-2))
        return projection

    def predict_projection(self, projections: Tensor) -> Tensor:
        """See `Network.predict_projection`."""
        prediction: Tensor = self.consistency_predictor(projections)
        return prediction

    def decode_reward(self, reward_logits: Tensor, latents: Tensor) -> Tensor:
        """See `Network.decode_reward`."""
        told = super().decode_reward(reward_logits, latents)
        return told if self.value_prefix is None else told - self.value_prefix.sum_before(self._memories(latents))

    def _states(self, latents: Tensor) -> Tensor:
        return latents[..., : self.state_size]

    def _memories(self, latents: Tensor) -> Tensor:
        return latents[..., self.state_size :]

    def _cell_by_cell(self, latents: Tensor) -> Tensor:
        """`[..., H]` latent states to their boards, `[..., cells, C]`."""
        return self._states(latents).view(*latents.shape[:-1], *self._cells)


def _to_latents(planes: Tensor) -> Tensor:
    """`[B, C, H, W]` to `[B, H * W * C]` in [0, 1]."""
    return scale_latent(planes.permute(0, 2, 3, 1).flatten(1))


def _board_shape(spec: GameSpec) -> tuple[int, int]:
    """H and W of the game's observations, to which all else that it says of boards must fit."""
    if len(spec.input_shape) != 3:
        raise ValueError(
            f"network.kind: 'conv' needs observations [C, H, W], got shape {spec.input_shape}; choose 'mlp'"
        )
    height, width = spec.input_shape[1:]
    drawn, cells = spec.action_planes, spec.action_cells
    if drawn is not None and (drawn.ndim != 4 or (len(drawn), *drawn.shape[2:]) != (spec.num_actions, height, width)):
        raise ValueError(
            f"spec.action_planes: must have shape [{spec.num_actions}, P, {height}, {width}], got {drawn.shape}"
        )
    if spec.turn_cells is not None and sorted(spec.turn_cells.tolist()) != list(range(height * width)):
        raise ValueError(f"spec.turn_cells: must hold each of the {height * width} cells once, got {spec.turn_cells}")
    if spec.turn_cells is not None and not spec.alternating:
        raise ValueError("spec.turn_cells: needs a game whose turns alternate; leave it out")
    if cells is not None and cells.shape != (spec.num_actions,):
        raise ValueError(f"spec.action_cells: must have shape [{spec.num_actions}], got {cells.shape}")
    return height, width

"""`CompiledMLP`: the MLP of `nn.networks` as a `SearchModel`, without torch.

For actors on CPUs: it computes from the published weights what torch would, in one compiled call per
inference. It cannot train, serves no other network and no other device; `nn.inference.TorchModel` does.
"""

import math
from collections.abc import Callable

import numpy as np

from muzero_ray.core.config import NetworkConfig
from muzero_ray.core.game import GameSpec
from muzero_ray.core.support import support_bins
from muzero_ray.core.types import Weights
from muzero_ray.engine import kernels
from muzero_ray.mcts.model import RootOutput, StepOutput


class CompiledMLP:
    """Keeps the latent states of a search in one array `[N, B, H]`, float32.

    The arrays of an answer are overwritten by the next call. BLAS uses the threads that
    OPENBLAS_NUM_THREADS allows when the process starts; products this small are fastest with 1.

    Args:
        config: the network's; it must be the one that the weights were trained with.
        spec: the game's.
        discount: what a value is worth one step earlier, to the player who moved: minus the
            configured discount where two players alternate. Where the network learns whose turn comes
            next, that decides the sign.
    """

    def __init__(self, config: NetworkConfig, spec: GameSpec, discount: float) -> None:
        self._config = config
        self._discount = discount
        self._num_actions = spec.num_actions
        self._observation_size = math.prod(spec.input_shape)
        frames = spec.observation_dtype == "uint8"
        self._observation_scale = np.float32(1 / 255 if frames else 1.0)
        self._normalizes_observations = config.normalize_observations and not frames
        decoding = _decoding(config, spec)
        self._learns_turns = spec.num_players == 2 and not spec.alternating
        self._num_outputs = (
            len(decoding.reward_bins) + max(1, len(decoding.value_bins)) + spec.num_actions + self._learns_turns
        )
        self._decoding = tuple(decoding)
        self._parameters: kernels.Plain | None = None
        self._make_room(num_nodes=0, batch_size=0)

    def set_weights(self, weights: Weights) -> None:
        """Uses these published weights from the next call on. They are copied.

        Raises:
            ValueError: if they belong to another network configuration, or are not finite.
        """
        shapes = self._wanted_shapes()
        if shapes.keys() != weights.keys():
            raise ValueError(
                f"weights: must hold exactly {sorted(shapes)}, got {sorted(weights)}; "
                "were they trained with another network configuration?"
            )
        for name, shape in shapes.items():
            if weights[name].shape != shape:
                raise ValueError(
                    f"weights: {name} must have shape {shape}, got {weights[name].shape}; "
                    "were they trained with another network configuration?"
                )
            if not np.isfinite(weights[name]).all():
                raise ValueError(f"weights: {name} must be finite; publish the weights of an earlier training step")
        self._parameters = tuple(_fold(weights, self._observation_scale))

    def initial(self, observations: np.ndarray, num_nodes: int) -> RootOutput:
        """See `SearchModel.initial`."""
        batch_size = len(observations)
        nodes, size, _ = self._buffers.latents.shape
        if size != batch_size or nodes < num_nodes:
            self._make_room(num_nodes, batch_size)
        self._buffers.observations[:] = observations.reshape(batch_size, self._observation_size)
        kernels.initial(self._ready(), self._decoding, self._plain_buffers)
        return RootOutput(self._buffers.values, self._buffers.policy_logits)

    def recurrent(self, parent_nodes: np.ndarray, actions: np.ndarray, new_node: int) -> StepOutput:
        """See `SearchModel.recurrent`.

        Raises:
            IndexError: if a node or an action is out of range, or the batch size has changed since `initial`.
        """
        kernels.recurrent(parent_nodes, actions, new_node, self._ready(), self._decoding, self._plain_buffers)
        if self._learns_turns:
            discount = abs(self._discount)
            self._step.discounts[:] = np.where(self._buffers.outputs[:, -1] > 0, discount, -discount)
        return self._step

    def matrix_products_only(self, batch_size: int) -> Callable[[], None]:
        """Returns a function that runs the bare products of one `recurrent` call, as a floor for benchmarks."""
        parameters, buffers = self._ready(), self._allocate(num_nodes=1, batch_size=batch_size)
        for buffer in buffers:
            buffer.fill(0.5)  # what fresh memory holds may be denormal, which multiplies slowly
        plain_buffers = tuple(buffers)
        return lambda: kernels.matrix_products(parameters, plain_buffers)

    def _ready(self) -> kernels.Plain:
        if self._parameters is None:
            raise RuntimeError("CompiledMLP: has no weights yet; call set_weights first")
        return self._parameters

    def _make_room(self, num_nodes: int, batch_size: int) -> None:
        """Makes the buffers anew, and with them the one answer of `recurrent`, which consists of their arrays."""
        self._buffers = buffers = self._allocate(num_nodes, batch_size)
        self._plain_buffers = tuple(buffers)
        discounts = np.full(batch_size, self._discount, dtype=np.float32)
        self._step = StepOutput(buffers.rewards, buffers.values, buffers.policy_logits, discounts)

    def _allocate(self, num_nodes: int, batch_size: int) -> kernels.Buffers:
        config = self._config

        def empty(*shape: int) -> np.ndarray:
            return np.empty(shape, dtype=np.float32)

        return kernels.Buffers(
            observations=empty(batch_size, self._observation_size),
            latents=empty(num_nodes, batch_size, config.latent_size),
            parents=empty(batch_size, config.latent_size),
            hidden=empty(batch_size, config.hidden_size),
            hidden_2=empty(batch_size, config.hidden_size),
            head=empty(batch_size, config.head_size),
            outputs=empty(batch_size, self._num_outputs),
            rewards=empty(batch_size),
            values=empty(batch_size),
            policy_logits=empty(batch_size, self._num_actions),
        )

    def _wanted_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of the weights, as `nn.networks.MuZeroNetwork` documents them."""
        latent, hidden, head = self._config.latent_size, self._config.hidden_size, self._config.head_size
        linear = {
            "representation_1": (hidden, self._observation_size),
            "representation_2": (hidden, hidden),
            "representation_3": (latent, hidden),
            "dynamics_1": (hidden, latent),
            "dynamics_2": (latent, hidden),
            "prediction_1": (head, latent),
            "prediction_2": (self._num_outputs, head),
        }
        shapes: dict[str, tuple[int, ...]] = {"action_rows.weight": (self._num_actions, hidden)}
        for name, (outputs, inputs) in linear.items():
            shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
        for name in ("representation_norm", "dynamics_norm"):
            shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
        if self._normalizes_observations:
            shapes |= {name: (self._observation_size,) for name in ("observation_mean", "observation_spread")}
        return shapes


def _fold(weights: Weights, observation_scale: np.float32) -> kernels.Parameters:
    """Copies the weights into the form in which the kernels use them."""

    def matrix(name: str) -> np.ndarray:
        return np.array(weights[f"{name}.weight"].T, dtype=np.float32, order="C")

    def vector(name: str) -> np.ndarray:
        return np.array(weights[f"{name}.bias"], dtype=np.float32)

    def norm(name: str) -> np.ndarray:
        return np.stack([weights[f"{name}.weight"], weights[f"{name}.bias"]]).astype(np.float32)

    nothing = np.empty(0, dtype=np.float32)  # where observations are not normalised
    return kernels.Parameters(
        observation_mean=np.array(weights.get("observation_mean", nothing), dtype=np.float32),
        observation_spread=np.array(weights.get("observation_spread", nothing), dtype=np.float32),
        observation_matrix=matrix("representation_1") * observation_scale,
        observation_bias=vector("representation_1"),
        observation_norm=norm("representation_norm"),
        hidden_matrix=matrix("representation_2"),
        hidden_bias=vector("representation_2"),
        latent_matrix=matrix("representation_3"),
        latent_bias=vector("representation_3"),
        dynamics_matrix=matrix("dynamics_1"),
        action_rows=(weights["action_rows.weight"] + weights["dynamics_1.bias"]).astype(np.float32),
        dynamics_norm=norm("dynamics_norm"),
        change_matrix=matrix("dynamics_2"),
        change_bias=vector("dynamics_2"),
        head_matrix=matrix("prediction_1"),
        head_bias=vector("prediction_1"),
        output_matrix=matrix("prediction_2"),
        output_bias=vector("prediction_2"),
    )


def _decoding(config: NetworkConfig, spec: GameSpec) -> kernels.Decoding:
    if config.value_head == "scalar" and spec.value_bounds is None:
        raise ValueError(
            "network.value_head: 'scalar' needs a game whose spec states value_bounds, got None; "
            "state them in the game's spec or choose 'categorical'"
        )
    low, high = spec.value_bounds or (0.0, 0.0)
    scalar = config.value_head == "scalar"
    return kernels.Decoding(
        reward_bins=support_bins(config.reward_support, config.support_spacing, config.support_transform),
        value_bins=np.empty(0, dtype=np.float32)
        if scalar
        else support_bins(config.value_support, config.support_spacing, config.support_transform),
        value_middle=(low + high) / 2,
        value_radius=(high - low) / 2,
    )

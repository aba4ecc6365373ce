"""The arithmetic of the MLP, compiled by numba: one call per inference, matrix products included.

`np.dot` inside numba is BLAS, as outside; one compiled call for everything saves the cost of a dozen
calls from Python, which at one game is most of the time. All arrays are C-contiguous float32. What the
formulas are is said in `nn.networks.MuZeroNetwork`; nothing here checks its input but the indices, a
wrong one of which would touch foreign memory.

Kernels called from Python take their named tuples as plain ones and name them inside: numba hands over a
plain tuple in a third of the time.

Constants are float32 objects, because a Python number would turn the arithmetic around it to float64.
`fastmath` lets loops be vectorised by reordering sums; it assumes that all numbers are finite, which
`CompiledMLP.set_weights` checks of the weights and the game's seam of observations.

Between the products, every pass over a batch is one function, compiled as the search is: without reference counts,
which took half of the time of these passes when they were counted for every row (`np.dot` does not compile without),
and put into the kernels that call it. Else a process that compiles the passes would call other copies of them, with
sums in another order, than one that loads them from numba's cache, and reruns would not be equal to the bit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import overload

from muzero_ray.mcts.jit import OPTIONS, compiled_with

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_HALF = np.float32(0.5)
_NORM_EPSILON = np.float32(1e-5)  # of torch's LayerNorm
_OBSERVATION_CLIP = np.float32(5.0)
_LATENT_EPSILON = np.float32(1e-5)
_SMALLEST_EXPONENT = np.float32(-126.0)  # of 2, of a number that is not denormal
_LOG2_E = np.float32(1.4426950408889634)
# Taylor coefficients of 2^f = e^(f ln 2): ln(2)^i / i!; below 2e-7 of error for |f| <= 1/2.
_C1 = np.float32(0.6931471805599453)
_C2 = np.float32(0.2402265069591007)
_C3 = np.float32(0.05550410866482158)
_C4 = np.float32(0.009618129107628477)
_C5 = np.float32(0.0013333558146428441)
_C6 = np.float32(0.0001540353039338161)


class Parameters(NamedTuple):
    """The weights as the kernels want them: matrices `[in, out]`, biases folded where they can be.

    With X the length of an observation, M the hidden, H the latent and P the head size, and
    O = S_r + S_v + A outputs, and one more, the turn logit, where the network learns whose turn comes next.
    """

    observation_mean: np.ndarray  # [X]; of length 0 where observations are not normalised
    observation_spread: np.ndarray  # [X], the same
    observation_matrix: np.ndarray  # [X, M] R1, times 1/255 for frames
    observation_bias: np.ndarray  # [M]
    observation_norm: np.ndarray  # [2, M] LayerNorm's factor and offset
    hidden_matrix: np.ndarray  # [M, M] R2
    hidden_bias: np.ndarray  # [M]
    latent_matrix: np.ndarray  # [M, H] R3
    latent_bias: np.ndarray  # [H]
    dynamics_matrix: np.ndarray  # [H, M] D1
    action_rows: np.ndarray  # [A, M] E[a] + d1
    dynamics_norm: np.ndarray  # [2, M]
    change_matrix: np.ndarray  # [M, H] D2
    change_bias: np.ndarray  # [H]
    head_matrix: np.ndarray  # [H, P] P1
    head_bias: np.ndarray  # [P]
    output_matrix: np.ndarray  # [P, O] P2
    output_bias: np.ndarray  # [O]


class Decoding(NamedTuple):
    """How outputs become scalars."""

    reward_bins: np.ndarray  # [S_r]
    value_bins: np.ndarray  # [S_v]; of length 0 where the value head is scalar
    value_middle: float  # of the value bounds; scalar head only
    value_radius: float


class Buffers(NamedTuple):
    """Room for one batch size: written by every call, allocated once."""

    observations: np.ndarray  # [B, X]
    latents: np.ndarray  # [N, B, H]
    parents: np.ndarray  # [B, H] the latent states that a step starts from
    hidden: np.ndarray  # [B, M]
    hidden_2: np.ndarray  # [B, M]
    head: np.ndarray  # [B, P]
    outputs: np.ndarray  # [B, O]; of the last call, the logits of policy and turn are left as they are
    rewards: np.ndarray  # [B]
    values: np.ndarray  # [B]
    policy_logits: np.ndarray  # [B, A]


Plain = tuple[Any, ...]
"""One of the named tuples above as a plain tuple."""

_with_products = compiled_with(nogil=True, cache=True, fastmath=True)
_part_with_products = compiled_with(nogil=True, cache=True, fastmath=True, forceinline=True)
_pass = compiled_with(**OPTIONS, fastmath=True)
_inline = compiled_with(**OPTIONS, fastmath=True, inline="always")


@_with_products
def initial(plain_parameters: Plain, plain_decoding: Plain, plain_buffers: Plain) -> None:
    """Encodes the observations in the buffers, which it may overwrite, as node 0; predicts values and policies."""
    parameters, decoding = Parameters(*plain_parameters), Decoding(*plain_decoding)
    buffers = Buffers(*plain_buffers)
    observations = buffers.observations
    latents = buffers.latents[0]
    if len(parameters.observation_mean) > 0:
        _normalize(observations, parameters.observation_mean, parameters.observation_spread)
    np.dot(observations, parameters.observation_matrix, buffers.hidden)
    _add_norm_relu(buffers.hidden, parameters.observation_bias, parameters.observation_norm)
    np.dot(buffers.hidden, parameters.hidden_matrix, buffers.hidden_2)
    _add_relu(buffers.hidden_2, parameters.hidden_bias)
    np.dot(buffers.hidden_2, parameters.latent_matrix, latents)
    _add_scale(latents, parameters.latent_bias)
    _predict(latents, parameters, decoding, buffers)


@_with_products
def recurrent(
    parent_nodes: np.ndarray,
    actions: np.ndarray,
    new_node: int,
    plain_parameters: Plain,
    plain_decoding: Plain,
    plain_buffers: Plain,
) -> None:
    """Steps row b from node `parent_nodes[b]` by `actions[b]` to `new_node`, and predicts there."""
    parameters, decoding = Parameters(*plain_parameters), Decoding(*plain_decoding)
    buffers = Buffers(*plain_buffers)
    nodes, batch_size, _ = buffers.latents.shape
    if len(parent_nodes) != batch_size or len(actions) != batch_size or not 0 <= new_node < nodes:
        raise IndexError("recurrent: batch size or new_node does not fit what `initial` made room for")
    if not _in_range(parent_nodes, nodes) or not _in_range(actions, len(parameters.action_rows)):
        raise IndexError("recurrent: a parent node or an action is out of range")
    _gather(buffers.latents, parent_nodes, buffers.parents)
    np.dot(buffers.parents, parameters.dynamics_matrix, buffers.hidden)
    _add_row_norm_relu(buffers.hidden, parameters.action_rows, actions, parameters.dynamics_norm)
    latents = buffers.latents[new_node]
    np.dot(buffers.hidden, parameters.change_matrix, latents)
    _add_parents_scale(latents, buffers.parents, parameters.change_bias)
    _predict(latents, parameters, decoding, buffers)


@_with_products
def matrix_products(plain_parameters: Plain, plain_buffers: Plain) -> None:
    """The four products of `recurrent` and nothing else: what no implementation can do without."""
    parameters, buffers = Parameters(*plain_parameters), Buffers(*plain_buffers)
    np.dot(buffers.parents, parameters.dynamics_matrix, buffers.hidden)
    latents = buffers.latents[0]
    np.dot(buffers.hidden, parameters.change_matrix, latents)
    np.dot(latents, parameters.head_matrix, buffers.head)
    np.dot(buffers.head, parameters.output_matrix, buffers.outputs)


@_part_with_products
def _predict(latents: np.ndarray, parameters: Parameters, decoding: Decoding, buffers: Buffers) -> None:
    """Rewards, values and policy logits of `[B, H]` latent states, into the buffers. Turns are not decoded."""
    np.dot(latents, parameters.head_matrix, buffers.head)
    _add_relu(buffers.head, parameters.head_bias)
    np.dot(buffers.head, parameters.output_matrix, buffers.outputs)
    _decode(buffers.outputs, parameters.output_bias, decoding, buffers.rewards, buffers.values, buffers.policy_logits)


# ---------------------------------------------------------------------------------------------------
# Passes over a batch.
# ---------------------------------------------------------------------------------------------------


@_pass
def _in_range(indices: np.ndarray, size: int) -> bool:
    """Whether all of `[B]` indices are of something with so many places."""
    num_outside = 0
    for index in indices:
        num_outside += index < 0 or index >= size
    return num_outside == 0


@_pass
def _gather(latents: np.ndarray, nodes: np.ndarray, gathered: np.ndarray) -> None:
    """Fills `[B, H]` with row b of node `nodes[b]` from `[N, B, H]`."""
    for row in range(gathered.shape[0]):
        node = nodes[row]
        for i in range(gathered.shape[1]):
            gathered[row, i] = latents[node, row, i]


@_pass
def _normalize(x: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> None:
    """x = clip((x - mean) / spread), in place, for `[B, X]`."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            y = (x[row, i] - mean[i]) / spread[i]
            x[row, i] = _lower(_higher(y, -_OBSERVATION_CLIP), _OBSERVATION_CLIP)


@_pass
def _add_norm_relu(x: np.ndarray, bias: np.ndarray, norm: np.ndarray) -> None:
    """x = relu(LayerNorm(x + bias)), in place, for `[B, n]`."""
    for row in range(x.shape[0]):
        _norm_relu_of_sum(x[row], bias, norm)


@_pass
def _add_row_norm_relu(x: np.ndarray, rows: np.ndarray, indices: np.ndarray, norm: np.ndarray) -> None:
    """As `_add_norm_relu`, with a bias for each row: row `indices[b]` of `rows`."""
    for row in range(x.shape[0]):
        _norm_relu_of_sum(x[row], rows[indices[row]], norm)


@_pass
def _norm_relu_of_sum(x: np.ndarray, bias: np.ndarray, norm: np.ndarray) -> None:
    """x = relu(LayerNorm(x + bias)), in place, for one row."""
    size = np.float32(len(x))
    total = _ZERO
    for i in range(len(x)):
        x[i] += bias[i]
        total += x[i]
    mean = total / size
    # The mean is taken off before squaring: the difference of two large sums would lose the digits.
    squares = _ZERO
    for i in range(len(x)):
        squares += (x[i] - mean) * (x[i] - mean)
    factor = _ONE / np.sqrt(squares / size + _NORM_EPSILON)
    for i in range(len(x)):
        x[i] = _higher((x[i] - mean) * factor * norm[0, i] + norm[1, i], _ZERO)


@_pass
def _add_relu(x: np.ndarray, bias: np.ndarray) -> None:
    """x = relu(x + bias), in place, for `[B, n]`."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[row, i] = _higher(x[row, i] + bias[i], _ZERO)


@_pass
def _add_scale(x: np.ndarray, bias: np.ndarray) -> None:
    """Adds the bias to `[B, H]` and brings each row to [0, 1], in place."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[row, i] += bias[i]
        _scale(x[row])


@_pass
def _add_parents_scale(x: np.ndarray, parents: np.ndarray, bias: np.ndarray) -> None:
    """Adds `[B, H]` latent states and the bias to the change, `[B, H]`, and brings each row to [0, 1], in place."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[row, i] += parents[row, i] + bias[i]
        _scale(x[row])


@_pass
def _scale(x: np.ndarray) -> None:
    """Brings one latent state to [0, 1] by its own smallest and largest number, in place."""
    low = x[0]
    high = x[0]
    for i in range(len(x)):
        low = _lower(low, x[i])
        high = _higher(high, x[i])
    factor = _ONE / (high - low + _LATENT_EPSILON)
    for i in range(len(x)):
        x[i] = (x[i] - low) * factor


@_pass
def _decode(
    all_outputs: np.ndarray,
    bias: np.ndarray,
    decoding: Decoding,
    rewards: np.ndarray,
    values: np.ndarray,
    policy_logits: np.ndarray,
) -> None:
    """Fills `[B]` rewards, `[B]` values and `[B, A]` policy logits from `[B, O]` outputs without their bias.

    It is added in place to what is left as it is, the logits of policy and turn.
    """
    reward_end = len(decoding.reward_bins)
    value_end = reward_end + max(1, len(decoding.value_bins))
    for row in range(all_outputs.shape[0]):
        outputs = all_outputs[row]
        rewards[row] = _expectation(outputs[:reward_end], bias[:reward_end], decoding.reward_bins)
        if len(decoding.value_bins) > 0:
            values[row] = _expectation(outputs[reward_end:value_end], bias[reward_end:value_end], decoding.value_bins)
        else:
            radius = np.float32(decoding.value_radius)
            output = outputs[reward_end] + bias[reward_end]
            values[row] = np.float32(decoding.value_middle) + radius * np.tanh(output)
        for i in range(value_end, len(outputs)):
            outputs[i] += bias[i]
        for action in range(policy_logits.shape[1]):
            policy_logits[row, action] = outputs[value_end + action]


@_pass
def _expectation(logits: np.ndarray, bias: np.ndarray, bins: np.ndarray) -> np.float32:
    """The mean of the bins by their probabilities, softmax(logits + bias)."""
    highest = logits[0] + bias[0]
    for i in range(len(logits)):
        highest = _higher(highest, logits[i] + bias[i])
    total = _ZERO
    weighted = _ZERO
    for i in range(len(logits)):
        weight = _exp(logits[i] + bias[i] - highest)
        total += weight
        weighted += weight * bins[i]
    mean: np.float32 = weighted / total
    return mean


# ---------------------------------------------------------------------------------------------------
# Functions of single numbers, in forms that the compiler can vectorise.
# ---------------------------------------------------------------------------------------------------


@_inline
def _exp(x: np.float32) -> np.float32:
    """e^x for x <= 0 in float32, to 4e-7 of itself down to x = -5 and 2e-6 below; never less than 1e-38.

    With x log2(e) = n + f, |f| <= 1/2, it is 2^n, written into the exponent bits, times a polynomial
    for 2^f. Unlike the library's function it is vectorised by the compiler.
    """
    t = _higher(x * _LOG2_E, _SMALLEST_EXPONENT)
    whole = np.floor(t + _HALF)
    f = t - whole
    p = _C4 + f * (_C5 + f * _C6)
    p = _ONE + f * (_C1 + f * (_C2 + f * (_C3 + f * p)))
    bits = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    result: np.float32 = p * bits.view(np.float32)
    return result


def _lower(one: np.float32, two: np.float32) -> np.float32:
    """The smaller of two float32."""
    return one if one < two else two


def _higher(one: np.float32, two: np.float32) -> np.float32:
    """The larger of two float32."""
    return one if one > two else two


# Compiled, these are LLVM's own functions. A choice that is written out is not vectorised where a loop carries it on,
# because numba does not mark it as free of NaN. Source: https://llvm.org/docs/LangRef.html#llvm-minnum-intrinsic
_two_to_one = types.float32(types.float32, types.float32)
_llvm_lower = types.ExternalFunction("llvm.minnum.f32", _two_to_one)
_llvm_higher = types.ExternalFunction("llvm.maxnum.f32", _two_to_one)


@overload(_lower, strict=False)
def _compiled_lower(one: types.Float, two: types.Float) -> Callable[..., Any]:
    return lambda one, two: _llvm_lower(one, two)


@overload(_higher, strict=False)
def _compiled_higher(one: types.Float, two: types.Float) -> Callable[..., Any]:
    return lambda one, two: _llvm_higher(one, two)

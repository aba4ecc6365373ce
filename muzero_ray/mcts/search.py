"""What both searches share: arguments and their checks, the loop over simulations, and the result.

The rules themselves are in `gumbel.py`, `puct.py` and, compiled, in `kernels.py`. Nothing here knows which runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np

from muzero_ray.mcts import kernels
from muzero_ray.mcts.model import SearchModel, StepOutput
from muzero_ray.mcts.tree import EDGE_VISITS, HIGH, LEAF_PARENT, LOW, RAW_VALUE, ROOT, VALUE, Packed, Tree

QNormalization = Literal["tree", "bounds", "node"]
PerGame = float | np.ndarray
"""A number for all games of a batch, or `[B]` for each of them."""

NORMALIZATIONS: dict[str, int] = {
    "tree": kernels.BY_TREE,
    "bounds": kernels.BY_BOUNDS,
    "node": kernels.BY_NODE,
}


@dataclass(frozen=True)
class SearchResult:
    """What the search of B positions found. Arrays of its own, which the caller may keep."""

    actions: np.ndarray  # [B] int32; the action to play, always legal
    search_policies: np.ndarray  # [B, A] float32; the target of the policy: sums to 1, 0 on illegal actions
    visit_counts: np.ndarray  # [B, A] int32; simulations that began with each action: sums to num_simulations
    root_values: np.ndarray  # [B] float32; mean return of all simulations, for the player to move
    raw_values: np.ndarray  # [B] float32; the model's value without search, for the player to move


def start_search(
    model: SearchModel,
    observations: np.ndarray,
    legal_actions: np.ndarray,
    *,
    num_simulations: int,
    q_normalization: QNormalization,
    q_floor: float,
    value_bounds: tuple[float, float] | None,
    max_candidates: int | None,
    tree: Tree | None,
    noise: np.ndarray | None = None,
) -> tuple[Tree, np.ndarray]:
    """Checks the arguments, evaluates the roots and puts them into a tree, the given one if any.

    Returns:
        The tree, and the `[B, A]` float32 logits of the roots, -inf on illegal actions. Where a node keeps fewer
        candidates than there are actions, a root keeps the legal ones with the highest logit + `noise` (`[B, A]`).

    How Q is brought to [0, 1] is one rule for both searches: it is divided by a range of values, which is

    - "tree": from the smallest to the largest Q = reward + discount * value met so far anywhere in the
      row's tree (the root's raw value included), but at least `q_floor`. In two-player games the Q of both
      players go into this one range, so that a clear lead (Q near +v for one and -v for the other) hides the
      differences between actions; use "bounds" there.
    - "bounds": between the two `value_bounds`, whatever is met.
    - "node": of the values at one node, but at least 1e-8, as in mctx. Noise in a flat node is stretched too.

    The arguments are those of `gumbel_search`.

    Raises:
        ValueError: if an argument or the model's output is unusable, with the reason.
    """
    size, num_actions = _checked_shape(observations, legal_actions)
    if num_simulations < 1:
        raise ValueError(f"num_simulations must be at least 1, got {num_simulations}")
    if q_normalization not in NORMALIZATIONS:
        raise ValueError(f"q_normalization must be one of {', '.join(NORMALIZATIONS)}, got {q_normalization!r}")
    if q_normalization == "bounds" and (value_bounds is None or not value_bounds[0] < value_bounds[1]):
        raise ValueError(
            "q_normalization 'bounds' needs value_bounds (low, high) with low < high, "
            f"got {value_bounds}; give the game's bounds or use 'tree'"
        )
    if not q_floor >= 0:
        raise ValueError(f"q_floor must not be negative, got {q_floor}")
    if max_candidates is not None and max_candidates < 1:
        raise ValueError(f"max_candidates must be at least 1, got {max_candidates}")
    num_nodes = num_simulations + 1
    if tree is None:
        tree = Tree(size, num_nodes, num_actions, max_candidates)
    elif tree.shape != (size, num_nodes, num_actions):
        raise ValueError(f"tree must have shape (B, N, A) = {(size, num_nodes, num_actions)}, got {tree.shape}")

    root = model.initial(observations, num_nodes)
    values = _float32("RootOutput.values", root.values, (size,))
    policy_logits = _float32("RootOutput.policy_logits", root.policy_logits, (size, num_actions))
    _check_finite("RootOutput.values", values)
    _check_finite("RootOutput.policy_logits", policy_logits)
    legal_logits = np.where(legal_actions, policy_logits, np.float32(-np.inf))
    kept_logits = legal_logits
    if tree.candidates is not None:
        scores = legal_logits if noise is None else (legal_logits + noise).astype(np.float32)
        kernels.keep_highest_all(scores, tree.candidates, ROOT, tree.kept_logits)
        kept_logits = np.take_along_axis(legal_logits, tree.candidates[:, ROOT], axis=1)
    kernels.expand_roots_all(tree.packed, values, kept_logits)
    if q_normalization == "bounds" and value_bounds is not None:
        tree.row_values[LOW], tree.row_values[HIGH] = value_bounds
    return tree, legal_logits


def simulate(
    model: SearchModel, tree: Tree, num_simulations: int, advance: Callable[[Packed, kernels.Outputs, int], int]
) -> None:
    """Runs the simulations, the first leaves being selected already.

    Args:
        model: its latent states of the roots are those of `start_search`.
        tree: as `start_search` left it, with a leaf selected in every row.
        num_simulations: at least 1.
        advance: a kernel's `(packed, outputs, node) -> row`: backs up `node`, selects the next leaves, and returns
            the first row whose outputs were not finite, or `kernels.ALL_FINITE`.

    Raises:
        ValueError: if an output of the model has a wrong shape or is not finite; names field and row.
    """
    size, _, num_actions = tree.shape
    parents = tree.row_counts[LEAF_PARENT]
    packed = tree.packed
    known: StepOutput | None = None
    for node in range(1, num_simulations + 1):
        step = model.recurrent(parents, tree.leaf_actions(), new_node=node)
        if step is not known:
            outputs = _outputs(step, size, num_actions)
            # A model may answer with the same object again, its arrays filled anew; copies of them would be old.
            copied = any(array is not of_step for array, of_step in zip(outputs, _arrays(step), strict=True))
            known = None if copied else step
            all_logits = outputs[2]
            if tree.candidates is not None:
                outputs = (outputs[0], outputs[1], tree.kept_logits, outputs[3])
        if tree.candidates is not None:
            kernels.keep_highest_all(all_logits, tree.candidates, node, tree.kept_logits)
        row = advance(packed, outputs, node)
        if row != kernels.ALL_FINITE:
            _raise_not_finite(step, row, node)


def read_out(tree: Tree, actions: np.ndarray, search_policies: np.ndarray) -> SearchResult:
    """Puts a result together with copies of what the tree holds of the roots.

    Args:
        tree: of a finished search.
        actions: `[B]` int32, places of candidates.
        search_policies: `[B, A]` float32.
    """
    return SearchResult(
        actions=tree.root_actions(actions),
        search_policies=search_policies,
        visit_counts=tree.over_actions(tree.edge_counts[EDGE_VISITS, :, ROOT]),
        root_values=tree.node_values[VALUE, :, ROOT].astype(np.float32),
        raw_values=tree.node_values[RAW_VALUE, :, ROOT].astype(np.float32),
    )


def per_game(name: str, value: PerGame, size: int, *, highest: float = np.inf) -> np.ndarray:
    """Returns a number or `[B]` as `[B]` float64.

    Raises:
        ValueError: if the shape is another, or an entry is not finite or not in [0, highest].
    """
    numbers = np.asarray(value, np.float64)
    if numbers.shape not in ((), (size,)):
        raise ValueError(f"{name} must be a number or have shape {(size,)}, got shape {numbers.shape}")
    if not (np.isfinite(numbers) & (numbers >= 0) & (numbers <= highest)).all():
        raise ValueError(f"{name} must be finite and lie between 0 and {highest}, got {value}")
    return np.broadcast_to(numbers, (size,))


def _checked_shape(observations: np.ndarray, legal_actions: np.ndarray) -> tuple[int, int]:
    """Returns (B, A), or raises ValueError if no search can start from this."""
    if legal_actions.ndim != 2 or legal_actions.dtype != np.bool_:
        raise ValueError(
            f"legal_actions must be bool of shape [B, A], got {legal_actions.dtype} of {legal_actions.shape}"
        )
    size, num_actions = legal_actions.shape
    if len(observations) != size or size == 0:
        raise ValueError(
            f"observations and legal_actions must have the same B >= 1 rows, got {len(observations)} and {size}"
        )
    stuck = ~legal_actions.any(axis=1)
    if stuck.any():
        raise ValueError(
            f"legal_actions: row {int(stuck.argmax())} has no legal action; do not search a game that is over"
        )
    return size, num_actions


def _arrays(step: StepOutput) -> kernels.Outputs:
    return step.rewards, step.values, step.policy_logits, step.discounts


def _outputs(step: StepOutput, size: int, num_actions: int) -> kernels.Outputs:
    """The arrays of a step as kernels want them, or raises ValueError, naming the field, if a shape is wrong."""
    return (
        _float32("StepOutput.rewards", step.rewards, (size,)),
        _float32("StepOutput.values", step.values, (size,)),
        _float32("StepOutput.policy_logits", step.policy_logits, (size, num_actions)),
        _float32("StepOutput.discounts", step.discounts, (size,)),
    )


def _float32(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    return np.ascontiguousarray(values, np.float32)


def _check_finite(name: str, values: np.ndarray, where: str = "") -> None:
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        raise ValueError(f"{name} must be finite, got {values[row]} in row {row}{where}")


def _raise_not_finite(step: StepOutput, row: int, node: int) -> NoReturn:
    where = f" at node {node}"
    for name in ("rewards", "values", "policy_logits", "discounts"):
        _check_finite(f"StepOutput.{name}", np.asarray(getattr(step, name), np.float32), where)
    raise ValueError(f"StepOutput must be finite, is not in row {row}{where}")

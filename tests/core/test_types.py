"""The data that crosses a seam refuses what is malformed, and says which field it is."""

from dataclasses import replace

import numpy as np
import pytest

from muzero_ray.core.types import Batch, Trajectory


def make_trajectory() -> Trajectory:
    return Trajectory(
        observations=np.zeros((4, 2), np.float32),
        actions=np.array([0, 1, 2], np.int32),
        rewards=np.zeros(3, np.float32),
        to_play=np.zeros(4, np.int8),
        legal_actions=np.ones((3, 3), bool),
        search_policies=np.full((3, 3), 1 / 3, np.float32),
        root_values=np.zeros(3, np.float32),
        terminated=False,
        truncated=False,
        final_value=0.0,
        weights_version=0,
        seed=11,
        game_id=5,
        first_step=40,
    )


def make_batch() -> Batch:
    return Batch(
        observations=np.zeros((2, 4), np.float32),
        actions=np.zeros((2, 3), np.int32),
        target_values=np.zeros((2, 4), np.float32),
        value_mask=np.ones((2, 4), np.float32),
        target_rewards=np.zeros((2, 3), np.float32),
        reward_mask=np.ones((2, 3), np.float32),
        target_policies=np.zeros((2, 4, 5), np.float32),
        policy_mask=np.ones((2, 4), np.float32),
        importance_weights=np.ones(2, np.float32),
        indices=np.zeros(2, np.int64),
    )


def test_a_sound_trajectory_passes():
    make_trajectory().check(num_actions=3)
    assert make_trajectory().num_steps == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": np.zeros((3, 2), np.float32)}, "observations must have shape"),
        ({"rewards": np.zeros(2)}, "rewards must have shape"),
        ({"to_play": np.zeros(3, np.int8)}, "to_play must have shape"),
        ({"legal_actions": np.ones((3, 2), bool)}, "legal_actions must have shape"),
        ({"search_policies": np.ones((3, 2))}, "search_policies must have shape"),
        ({"root_values": np.zeros(4)}, "root_values must have shape"),
        ({"actions": np.array([0, 1, 3])}, r"actions must lie in 0\.\.2"),
        ({"actions": np.array([0, -1, 2])}, r"actions must lie in 0\.\.2"),
        ({"rewards": np.array([0, np.nan, 0])}, "rewards must be finite, is not at step 41"),
        ({"root_values": np.array([0, 0, np.inf])}, "root_values must be finite, is not at step 42"),
        ({"terminated": True, "truncated": True}, "terminated or truncated, not both"),
        ({"final_value": float("nan")}, "final_value must be finite"),
        ({"search_policies": np.full((3, 3), 0.3)}, "every search policy must sum to 1"),
        ({"legal_actions": np.eye(3, dtype=bool)}, "0 on illegal actions"),
    ],
)
def test_a_malformed_trajectory_is_refused_with_game_and_field(change: dict, message: str):
    with pytest.raises(ValueError, match=r"game 5 \(seed 11, from step 40\).*" + message):
        replace(make_trajectory(), **change).check(num_actions=3)


def test_an_empty_trajectory_is_refused():
    empty = replace(
        make_trajectory(),
        observations=np.zeros((1, 2)),
        actions=np.zeros(0, np.int32),
        rewards=np.zeros(0),
        to_play=np.zeros(1),
        legal_actions=np.zeros((0, 3), bool),
        search_policies=np.zeros((0, 3)),
        root_values=np.zeros(0),
    )
    with pytest.raises(ValueError, match="at least one transition"):
        empty.check(num_actions=3)


def test_a_sound_batch_passes():
    make_batch().check()


@pytest.mark.parametrize(
    "field",
    ["observations", "target_values", "value_mask", "target_rewards", "reward_mask", "target_policies", "policy_mask",
     "importance_weights", "indices"],
)  # fmt: skip
def test_a_batch_with_an_array_of_the_wrong_length_is_refused(field: str):
    batch = make_batch()
    with pytest.raises(ValueError, match=f"batch: {field} must have shape"):
        replace(batch, **{field: getattr(batch, field)[:-1]}).check()


@pytest.mark.parametrize("field", ["target_values", "target_rewards", "target_policies", "importance_weights"])
def test_a_batch_with_a_number_that_is_not_finite_is_refused(field: str):
    broken = getattr(make_batch(), field).copy()
    broken.flat[-1] = np.nan
    with pytest.raises(ValueError, match=f"batch: {field} must be finite"):
        replace(make_batch(), **{field: broken}).check()

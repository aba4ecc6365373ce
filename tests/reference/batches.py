"""Random batches for tests of the loss and the learner, with every kind of ending a game can have."""

import numpy as np

from muzero_ray.core.types import Batch


def random_batch(
    rng: np.random.Generator,
    *,
    batch_size: int = 6,
    unroll_steps: int = 3,
    num_actions: int = 4,
    observation_shape: tuple[int, ...] = (5,),
    value_scale: float = 10.0,
) -> Batch:
    """Windows of which a third run on, a third terminate and a third are truncated, each somewhere inside."""
    size, unroll = batch_size, unroll_steps
    steps = np.arange(unroll + 1)
    end = rng.integers(0, unroll + 1, size)  # the state after the last action, where the window has an end
    kind = np.arange(size) % 3  # 0 runs on, 1 terminates, 2 is truncated
    inside = (kind == 0)[:, None] | (steps < end[:, None])
    counts = inside | (kind == 1)[:, None]
    reached = (kind == 0)[:, None] | (steps[1:] <= end[:, None])
    turns = np.random.default_rng(size)  # apart, so that the rest is what it is without them
    policies = rng.dirichlet(np.ones(num_actions), (size, unroll + 1))
    return Batch(
        observations=rng.normal(size=(size, *observation_shape)).astype(np.float32),
        actions=rng.integers(0, num_actions, (size, unroll)).astype(np.int32),
        target_values=(rng.normal(size=(size, unroll + 1)) * value_scale * inside).astype(np.float32),
        value_mask=counts.astype(np.float32),
        target_rewards=(rng.normal(size=(size, unroll)) * reached).astype(np.float32),
        reward_mask=(reached | (kind == 1)[:, None]).astype(np.float32),
        target_policies=(policies * inside[..., None]).astype(np.float32),
        policy_mask=inside.astype(np.float32),
        importance_weights=rng.uniform(0.2, 1.0, size).astype(np.float32),
        indices=np.arange(size),
        next_observations=rng.normal(size=(size, unroll, *observation_shape)).astype(np.float32),
        observation_mask=reached.astype(np.float32),
        same_player=turns.integers(0, 2, (size, unroll)).astype(np.float32),
        turn_mask=reached.astype(np.float32),
    )

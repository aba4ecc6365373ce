"""Windows and targets, against whole recorded games in plain Python."""

from dataclasses import replace

import numpy as np
import pytest
from reference.naive_replay import RecordedGame, naive_window, random_game
from reference.replay_buffers import SPEC, all_indices, game_of, make_buffer

from muzero_ray.core.game import GameSpec
from muzero_ray.core.targets import value_targets
from muzero_ray.core.types import Batch, ReanalyzeResult
from muzero_ray.replay.buffer import ReplayBuffer


def assert_windows_equal_twins(buffer: ReplayBuffer, games: list[RecordedGame], **options) -> int:
    """Compares the windows from every state held; returns how many those are."""
    indices = all_indices(buffer)
    batch = buffer.windows(indices)
    batch.check()
    for row, (game_id, step) in enumerate(batch.observations.astype(int)):
        game = games[game_id]
        twin = naive_window(game, step, **options)
        name = f"game {game_id} ({game.ending}), step {step} of {game.delivered}/{game.length}"
        for field in ("value_mask", "target_rewards", "reward_mask", "policy_mask"):
            np.testing.assert_array_equal(getattr(batch, field)[row], getattr(twin, field), f"{field}, {name}")
        for field in ("target_values", "target_policies"):
            np.testing.assert_allclose(
                getattr(batch, field)[row], getattr(twin, field), rtol=1e-5, atol=1e-5, err_msg=f"{field}, {name}"
            )
        for k, (action, observation) in enumerate(zip(twin.actions, twin.next_observations, strict=True)):
            assert 0 <= batch.actions[row, k] < SPEC.num_actions
            assert action is None or action == batch.actions[row, k], name
            assert batch.observation_mask[row, k] == (observation is not None), name
            if observation is not None:
                np.testing.assert_array_equal(batch.next_observations[row, k], observation, name)
    return len(indices)


@pytest.mark.parametrize(("off_policy_cut", "policy_smoothing"), [(0.0, 0.0), (0.6, 0.1)])
@pytest.mark.parametrize("capacity", [10_000, 37])
@pytest.mark.parametrize(("unroll_steps", "td_steps"), [(1, 1), (3, 2), (5, 10), (20, 50)])
def test_all_windows_of_interleaved_pieces_equal_their_twins(
    capacity: int, unroll_steps: int, td_steps: int, off_policy_cut: float, policy_smoothing: float
):
    rng = np.random.default_rng([capacity, unroll_steps])
    targets = {
        "unroll_steps": unroll_steps,
        "td_steps": td_steps,
        "off_policy_cut": off_policy_cut,
        "policy_smoothing": policy_smoothing,
    }
    buffer = make_buffer(capacity_steps=capacity, **targets)
    games = [random_game(rng, game_id) for game_id in range(20)]
    compared = 0
    while waiting := [game for game in games if game.delivered < game.length]:
        game = waiting[rng.integers(min(6, len(waiting)))]
        buffer.add(game.next_piece(int(rng.integers(1, 6))))
        buffer.check_valid()
        compared += assert_windows_equal_twins(buffer, games, **targets, discount=0.9)
    assert compared > 500


def test_windows_follow_refreshed_values_and_policies():
    rng = np.random.default_rng(3)
    buffer = make_buffer()
    games = [random_game(rng, game_id) for game_id in range(20)]
    for game in games:
        while game.delivered < game.length:
            buffer.add(game.next_piece(4))
    for _ in range(10):
        request = buffer.reanalyze_request(16)
        policies = rng.dirichlet(np.ones(3), size=16).astype(np.float32)
        values = rng.normal(size=16).astype(np.float32)
        buffer.refresh(ReanalyzeResult(request.indices, policies, values, weights_version=1))
        for (game_id, step), policy, value in zip(request.observations.astype(int), policies, values, strict=True):
            games[game_id].values[step] = float(value)
            if step < games[game_id].length:
                games[game_id].policies[step] = policy.tolist()
        assert_windows_equal_twins(buffer, games, unroll_steps=3, td_steps=4, discount=0.9)


def test_fresh_values_take_the_place_of_stored_ones_but_not_of_the_end():
    rng = np.random.default_rng(5)
    table = rng.normal(size=(20, 100)).astype(np.float32)  # by game and step

    def value_function(observations: np.ndarray) -> np.ndarray:
        return table[tuple(observations.astype(int).T)]

    buffer = make_buffer()
    buffer.bootstrap_from(value_function)
    games = [random_game(rng, game_id) for game_id in range(20)]
    for game in games:
        while game.delivered < game.length:
            buffer.add(game.next_piece(4))
    for game in games:
        outcome = game.values[-1]
        game.values = table[game.game_id, : game.length + 1].tolist()
        if game.ending in ("terminated", "resigned"):
            game.values[-1] = outcome
    assert {game.ending for game in games} >= {"terminated", "truncated", "resigned"}
    assert assert_windows_equal_twins(buffer, games, unroll_steps=3, td_steps=4, discount=0.9) > 100


def test_the_cut_rises_from_nothing_over_its_warmup():
    buffer = make_buffer(off_policy_cut=0.8, off_policy_cut_warmup=20, td_steps=1, policy_smoothing=0.0)
    buffer.bootstrap_from(lambda observations: observations[:, 1])  # a state is worth the number of its step
    game = game_of(30)
    game.policies = [[0.6, 0.0, 0.4]] * 30
    game.actions = [2] * 30  # two thirds as likely as the likeliest
    buffer.add(game.next_piece(10))  # the cut stands at 0.4: action 2 is followed
    np.testing.assert_allclose(buffer.windows(np.array([4])).target_values[0, 0], 0.9 * 5)
    buffer.add(game.next_piece(8))  # 0.72: it is not
    np.testing.assert_allclose(buffer.windows(np.array([4])).target_values[0, 0], 4)


def test_a_smoothed_policy_leaves_a_share_to_every_legal_action():
    buffer = make_buffer(policy_smoothing=0.2)
    buffer.add(game_of(3).next_piece(3))  # action 1 is illegal; the search is certain of action 0
    np.testing.assert_allclose(buffer.windows(np.array([0])).target_policies[0, 0], [0.9, 0.0, 0.1])


@pytest.mark.parametrize("ending", ["terminated", "truncated", "resigned"])
def test_targets_of_a_whole_game_equal_the_documented_formula(ending: str):
    game = random_game(np.random.default_rng(8), 0, max_length=30, ending=ending)
    buffer = make_buffer(td_steps=3)
    trajectory = game.next_piece(100)
    buffer.add(trajectory)
    expected = value_targets(
        trajectory.rewards,
        trajectory.to_play,
        trajectory.root_values,
        final_value=trajectory.final_value,
        discount=0.9,
        td_steps=3,
    )
    batch = buffer.windows(np.arange(game.length))
    np.testing.assert_allclose(batch.target_values[:, 0], expected, rtol=1e-5)


def counting_game(length: int, ending: str, *, reward: float | None = None, value: float = 0.0) -> RecordedGame:
    """Observation (0, step), action step % 3, reward 10 * step + action unless another is given."""
    actions = [step % 3 for step in range(length)]
    return RecordedGame(
        game_id=0,
        ending=ending,
        actions=actions,
        rewards=[10.0 * t + a if reward is None else reward for t, a in enumerate(actions)],
        to_play=[0] * (length + 1),
        policies=[np.eye(3)[a].tolist() for a in actions],
        values=[value] * length + [0.0 if ending == "terminated" else value],
        legal=[[True] * 3] * length,
    )


def windows_of(game: RecordedGame, indices: list[int], piece: int = 5, **options) -> Batch:
    buffer = make_buffer(**options)
    while game.delivered < game.length:
        buffer.add(game.next_piece(piece))
    return buffer.windows(np.array(indices))


def test_reward_k_belongs_to_action_k_and_leads_to_observation_k_plus_1():
    batch = windows_of(counting_game(20, "open"), [4])
    assert batch.observations[0].tolist() == [0, 4]
    assert batch.actions[0].tolist() == [1, 2, 0]
    assert batch.target_rewards[0].tolist() == [41, 52, 60]
    assert batch.target_policies[0].argmax(axis=1).tolist() == [1, 2, 0, 1]
    assert batch.next_observations[0, :, 1].tolist() == [5, 6, 7]
    assert batch.reward_mask.all()
    assert batch.observation_mask.all()


@pytest.mark.parametrize("td_steps", [1, 7, 1000])
def test_truncated_game_bootstraps_from_its_final_value(td_steps: int):
    game = counting_game(30, "truncated", reward=1.0, value=10.0)
    batch = windows_of(game, list(range(31)), td_steps=td_steps)
    np.testing.assert_allclose(batch.target_values[batch.value_mask == 1], 10.0, rtol=1e-6)


def test_beyond_a_termination_value_and_reward_are_0_and_the_policy_does_not_count():
    batch = windows_of(counting_game(6, "terminated", value=3.0), [5], unroll_steps=4)
    assert batch.value_mask[0].tolist() == [1, 1, 1, 1, 1]
    assert batch.target_values[0].tolist() == [52, 0, 0, 0, 0]
    assert batch.reward_mask[0].tolist() == [1, 1, 1, 1]
    assert batch.target_rewards[0].tolist() == [52, 0, 0, 0]
    assert batch.policy_mask[0].tolist() == [1, 0, 0, 0, 0]
    assert batch.observation_mask[0].tolist() == [1, 0, 0, 0]
    assert not batch.target_policies[0, 1:].any()


def test_beyond_a_truncation_nothing_counts():
    batch = windows_of(counting_game(6, "truncated", value=3.0), [5], unroll_steps=4)
    assert batch.value_mask[0].tolist() == [1, 1, 0, 0, 0]
    assert batch.target_values[0, 1] == 3.0
    assert batch.reward_mask[0].tolist() == [1, 0, 0, 0]
    assert batch.policy_mask[0].tolist() == [1, 0, 0, 0, 0]
    assert batch.observation_mask[0].tolist() == [1, 0, 0, 0]


def test_the_newest_state_of_a_running_game_is_worth_its_own_value_until_more_is_known():
    game = counting_game(10, "open", reward=1.0, value=3.0)
    buffer = make_buffer(discount=1.0)
    buffer.add(game.next_piece(5))
    before = buffer.windows(np.array([3, 4]))
    assert before.target_values[:, 0].tolist() == [4.0, 3.0]
    assert before.value_mask.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert before.reward_mask.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert before.observation_mask.tolist() == [[1, 0, 0], [0, 0, 0]]
    buffer.add(game.next_piece(5))
    after = buffer.windows(np.array([3, 4]))
    assert after.target_values[:, 0].tolist() == [7.0, 7.0]
    assert after.value_mask.all()


def test_actions_beyond_the_end_are_drawn_evenly_from_all():
    game = counting_game(4, "terminated")
    buffer = make_buffer(unroll_steps=8)
    buffer.add(game.next_piece(4))
    actions = buffer.windows(np.full(500, 3)).actions
    assert (actions[:, 0] == 0).all()
    shares = np.bincount(actions[:, 1:].ravel(), minlength=3) / actions[:, 1:].size
    np.testing.assert_allclose(shares, 1 / 3, atol=0.04)


def test_targets_differ_from_one_unroll_step_to_the_next():
    game = counting_game(20, "open", reward=1.0)
    game.to_play = [t % 2 for t in range(21)]
    game.values = [float(t) for t in range(21)]
    batch = windows_of(game, [2], td_steps=1, discount=1.0)
    assert batch.target_values[0].tolist() == [1 - 3, 1 - 4, 1 - 5, 1 - 6]


def test_frames_are_handed_out_as_they_came_in():
    spec = GameSpec(observation_shape=(4, 5, 3), num_actions=3, observation_dtype="uint8")
    buffer = make_buffer(spec)
    frames = np.random.default_rng(0).integers(256, size=(11, 4, 5, 3), dtype=np.uint8)
    buffer.add(replace(counting_game(10, "terminated").next_piece(10), observations=frames))
    batch = buffer.windows(np.array([2, 9]))
    assert batch.observations.dtype == np.uint8
    np.testing.assert_array_equal(batch.observations, frames[[2, 9]])
    np.testing.assert_array_equal(batch.next_observations[0], frames[3:6])
    np.testing.assert_array_equal(batch.next_observations[1, 0], frames[10])

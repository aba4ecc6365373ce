"""Self-play, evaluation and recording show the network stacked frames; trajectories carry single ones."""

from typing import Any

import numpy as np
import pytest
from reference.fake_planner import FakeModel, FakePlanner
from reference.frame_games import LARGE, SMALL, FrameGame, frame_of, naive_stack, name_of

from muzero_ray.play.evaluation import evaluate, record_episode
from muzero_ray.play.self_play import SelfPlayer

STACKS = pytest.mark.parametrize("frame_stack", [1, 3, 4])
SEEDS = list(range(1, 12))


def assert_stacked(seen: np.ndarray, frame_stack: int, shape: tuple[int, int, int]) -> None:
    """Every row is the stack of the step that its newest frame names."""
    for row in seen:
        np.testing.assert_array_equal(row, naive_stack(*name_of(row), frame_stack, shape))


def player_of(frame_stack: int, planner: FakePlanner, **options: Any) -> SelfPlayer:
    seed = np.random.SeedSequence(3)
    make = lambda: FrameGame(frame_stack, options.get("shape", SMALL))  # noqa: E731
    player = SelfPlayer(make, planner, FakeModel(), num_games=4, seed=seed)
    player.set_weights({"scale": np.array([0.5], np.float32)}, 0)
    return player


@STACKS
@pytest.mark.parametrize("num_moves", [1, 2, 7, 20])
def test_self_play_shows_stacks_and_hands_over_single_frames(frame_stack: int, num_moves: int) -> None:
    planner = FakePlanner()
    player = player_of(frame_stack, planner)
    pieces = [piece for _ in range(0, 40, num_moves) for piece in player.play(num_moves)[0]]
    for call in planner.calls:
        assert call["observations"].shape == (4, 2 * frame_stack, 3, 4)
        assert_stacked(call["observations"], frame_stack, SMALL)
    for piece in pieces:
        wanted = [frame_of(piece.seed % 65536, piece.first_step + t, SMALL) for t in range(piece.num_steps + 1)]
        np.testing.assert_array_equal(piece.observations, wanted)
    steps = {name_of(row)[1] for call in planner.calls for row in call["observations"]}
    assert steps == set(range(9))  # the first states of games, and all others up to the last but one of the longest


@STACKS
@pytest.mark.parametrize("num_moves", [1, 20])
def test_a_truncated_game_is_worth_what_the_network_says_of_its_last_stack(frame_stack: int, num_moves: int) -> None:
    player = player_of(frame_stack, FakePlanner())
    pieces = [piece for _ in range(0, 60, num_moves) for piece in player.play(num_moves)[0]]
    truncated = [piece for piece in pieces if piece.truncated]
    assert len(truncated) > 5
    for piece in truncated:
        last = naive_stack(piece.seed % 65536, piece.first_step + piece.num_steps, frame_stack, SMALL)
        assert piece.final_value == 0.5 * last.sum()


@STACKS
@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_evaluation_shows_stacks(frame_stack: int, shape: tuple[int, int, int]) -> None:
    planner = FakePlanner()
    episodes = evaluate(lambda: FrameGame(frame_stack, shape), planner, FakeModel(), SEEDS, max_games=4)
    assert [episode.length for episode in episodes] == [1 + seed % 9 for seed in SEEDS]
    seen = np.concatenate([call["observations"] for call in planner.calls])
    assert_stacked(seen, frame_stack, shape)
    assert {name_of(row) for row in seen} == {(seed, step) for seed in SEEDS for step in range(1 + seed % 9)}


@STACKS
def test_a_recorded_episode_shows_stacks(frame_stack: int) -> None:
    planner = FakePlanner()
    record_episode(lambda: FrameGame(frame_stack), planner, FakeModel(), 8)
    seen = np.concatenate([call["observations"] for call in planner.calls])
    assert [name_of(row) for row in seen] == [(8, step) for step in range(9)]
    assert_stacked(seen, frame_stack, LARGE)

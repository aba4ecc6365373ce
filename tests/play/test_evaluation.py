"""Evaluation is greedy, in the order of the seeds, and the same every time."""

from typing import Any

import numpy as np
import pytest
from reference.counting_game import CountingGame
from reference.fake_planner import FakeModel, FakePlanner

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game
from muzero_ray.core.types import Episode
from muzero_ray.play.evaluation import Frames, evaluate, record_episode


class SeededLength(CountingGame):
    """Lasts as many steps as the seed says."""

    def reset(self, seed: int) -> Any:
        self._length = seed
        return super().reset(seed)


def greedy_return(length: int) -> float:
    """Sum of rewards of the fake planner's greedy play: its policy for step s is largest at (3 - s) mod 4, if that
    is one of the three actions, else, where the weights are 1, 2 and 3, at action 2."""
    best = [2, 2, 1, 0]  # for s mod 4; the weights are 1 + (s + a) % 4
    return float(sum(10 * step + best[step % 4] for step in range(length)))


@pytest.mark.parametrize("max_games", [1, 2, 3, 32])
def test_results_come_in_the_order_of_the_seeds(max_games: int) -> None:
    seeds = [3, 9, 1, 4, 1, 5, 9, 2, 6]
    episodes = evaluate(SeededLength, FakePlanner(), FakeModel(), seeds, max_games=max_games)
    assert episodes == [Episode((greedy_return(seed),), seed, seed, False) for seed in seeds]


def test_no_seeds_give_no_episodes() -> None:
    assert evaluate(SeededLength, FakePlanner(), FakeModel(), []) == []


def test_a_truncated_episode_says_so() -> None:
    (episode,) = evaluate(lambda: CountingGame(2, truncates=True), FakePlanner(), FakeModel(), [0])
    assert episode.truncated


class Aided(SeededLength):
    """In training, rewards are made 1, and a game ends after its first step."""

    def step(self, action: int) -> Any:
        observation, _, _, truncated, info = super().step(action)
        return observation, 1.0, True, truncated, info

    def evaluated(self) -> Game:
        return SeededLength()


def test_aids_of_training_are_left_out() -> None:
    (episode,) = evaluate(Aided, FakePlanner(), FakeModel(), [4])
    assert episode == Episode((greedy_return(4),), 4, 4, False)
    assert record_episode(Aided, FakePlanner(), FakeModel(), 4).episode == episode


def test_evaluation_asks_for_no_noise_no_temperature_and_its_own_number_of_simulations() -> None:
    planner = FakePlanner()
    evaluate(SeededLength, planner, FakeModel(), [2, 3], num_simulations=50)
    for call in planner.calls:
        assert (float(call["noise_scale"]), float(call["temperature"]), call["num_simulations"]) == (0.0, 0.0, 50)


def test_batches_shrink_by_halves_as_games_run_out() -> None:
    model = FakeModel()
    evaluate(SeededLength, FakePlanner(), model, [1, 2, 3, 4, 5, 6, 7, 8, 8, 8], max_games=8)
    assert model.batch_sizes == sorted(model.batch_sizes, reverse=True)
    assert set(model.batch_sizes) <= {8, 4, 2, 1}
    assert len(set(model.batch_sizes)) > 1


def test_in_a_game_for_two_the_agent_plays_both_sides() -> None:
    (episode,) = evaluate(lambda: CountingGame(3, num_players=2), FakePlanner(), FakeModel(), [0])
    # Greedy actions 2, 2, 1 give rewards 2, 12 and 21, by turns to player 0, 1 and 0.
    assert episode.returns == (2.0 - 12.0 + 21.0, -11.0)


def test_a_recorded_episode_holds_every_picture_and_is_the_episode_that_is_evaluated() -> None:
    make_game, planner, model = load_game("cartpole"), FakePlanner(), FakeModel(2)
    recording = record_episode(make_game, planner, model, 3)
    assert [recording.episode] == evaluate(make_game, planner, model, [3])
    assert len(recording.frames) == recording.episode.length + 1 == len(recording.actions) + 1
    assert all(frame.dtype == np.uint8 and frame.shape == recording.frames[0].shape for frame in recording.frames)
    assert set(recording.actions) <= {"left", "right"}


def test_pictures_are_kept_as_they_were_in_a_fraction_of_their_memory() -> None:
    pictures = np.random.default_rng(0).integers(256, size=(3, 5, 7, 3)).astype(np.uint8)
    frames = Frames()
    for picture in pictures:
        frames.append(picture[:, ::-1])  # no copy of its own: what is kept must not depend on it
    expected = pictures[:, :, ::-1].copy()
    pictures[:] = 0
    np.testing.assert_array_equal(list(frames), expected)
    np.testing.assert_array_equal(frames[1:], expected[1:])
    np.testing.assert_array_equal(frames[-1], expected[-1])
    sky = Frames()
    sky.append(np.zeros((400, 600, 3), np.uint8))
    assert sky.nbytes < 10_000


def test_a_game_without_pictures_is_recorded_as_text() -> None:
    recording = record_episode(load_game("tictactoe"), FakePlanner(), FakeModel(9), 0)
    assert len(recording.frames) == 0
    assert recording.texts[0] == ". . .\n. . .\n. . ."
    assert len(recording.texts) == recording.episode.length + 1

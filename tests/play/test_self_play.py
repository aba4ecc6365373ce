"""Self-play records what happened, where it belongs, exactly once."""

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from reference.counting_game import CountingGame
from reference.fake_planner import FakeModel, FakePlanner, policy_of

from muzero_ray.core.checked_game import GameError
from muzero_ray.core.rng import TRAINING_SEEDS, role_seed
from muzero_ray.core.types import Trajectory
from muzero_ray.play.self_play import SelfPlayer, sample_actions

SCALE = 3.0  # what the fake network multiplies an observation by


def player_of(make_game: Any = CountingGame, *, seed: Any = None, planner: Any = None, **options: Any) -> SelfPlayer:
    options = {"num_games": 4, "noise_scale": (1.0, 1.0), **options}
    seed = np.random.SeedSequence(1) if seed is None else seed
    player = SelfPlayer(make_game, planner or FakePlanner(), FakeModel(), seed=seed, **options)
    player.set_weights({"scale": np.array([SCALE], np.float32)}, 7)
    return player


def whole_games(pieces: list[Trajectory]) -> dict[int, list[Trajectory]]:
    games = defaultdict(list)
    for piece in pieces:
        games[piece.game_id].append(piece)
    return dict(games)


@pytest.mark.parametrize("num_players", [1, 2])
@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("num_moves", [1, 3, 5, 16])
def test_every_number_lies_beside_the_state_it_belongs_to(num_moves: int, truncates: bool, num_players: int) -> None:
    player = player_of(lambda: CountingGame(5, truncates=truncates, num_players=num_players))
    pieces = [piece for _ in range(4) for piece in player.play(num_moves)[0]]
    assert sum(piece.num_steps for piece in pieces) == 4 * 4 * num_moves
    for piece in pieces:
        piece.check(num_actions=3)
        steps = piece.first_step + np.arange(piece.num_steps)
        np.testing.assert_array_equal(piece.observations[:, 0], np.append(steps, steps[-1] + 1))
        np.testing.assert_array_equal(piece.rewards, 10 * steps + piece.actions)
        np.testing.assert_array_equal(piece.to_play, np.append(steps, steps[-1] + 1) % num_players)
        np.testing.assert_array_equal(piece.root_values, SCALE * steps + 0.5)
        policies = [policy_of(np.array([step]), np.ones(3)) for step in steps]
        np.testing.assert_allclose(piece.search_policies, policies, rtol=1e-6)
        assert piece.legal_actions.all()
        assert piece.weights_version == 7
        ended = steps[-1] == 4
        assert (piece.terminated, piece.truncated) == (ended and not truncates, ended and truncates)


def test_the_pieces_of_a_game_make_up_the_whole_game() -> None:
    # Eleven moves at a time or three: the same 33 moves of every game, cut differently.
    long, short = player_of(), player_of()
    whole = whole_games([piece for _ in range(3) for piece in long.play(11)[0]])
    parts = whole_games([piece for _ in range(11) for piece in short.play(3)[0]])
    assert whole.keys() == parts.keys()
    for game_id, pieces in parts.items():
        for name in ("actions", "rewards", "root_values", "search_policies"):
            joined = np.concatenate([getattr(piece, name) for piece in pieces])
            np.testing.assert_array_equal(joined, np.concatenate([getattr(p, name) for p in whole[game_id]]))
        for piece, following in itertools.pairwise(pieces):
            assert following.first_step == piece.first_step + piece.num_steps
            np.testing.assert_array_equal(piece.observations[-1], following.observations[0])
            assert piece.to_play[-1] == following.to_play[0]
            assert (piece.terminated, piece.truncated) == (False, False)


def test_pieces_do_not_change_when_play_goes_on() -> None:
    player = player_of()
    pieces, _ = player.play(3)
    before = [(piece.observations.copy(), piece.rewards.copy()) for piece in pieces]
    player.play(9)
    for piece, (observations, rewards) in zip(pieces, before, strict=True):
        np.testing.assert_array_equal(piece.observations, observations)
        np.testing.assert_array_equal(piece.rewards, rewards)


@pytest.mark.parametrize("num_games", [1, 4])
def test_a_truncated_game_ends_with_the_networks_value_of_its_last_state(num_games: int) -> None:
    player = player_of(lambda: CountingGame(2, truncates=True), num_games=num_games)
    pieces, _ = player.play(9)  # four games end in every row, more than one batch of last states
    truncated = [piece for piece in pieces if piece.truncated]
    assert len(truncated) == 4 * num_games
    assert [piece.final_value for piece in truncated] == [SCALE * 2] * len(truncated)
    assert [piece.final_value for piece in pieces if not piece.truncated] == [0.0] * num_games


def test_each_truncated_game_gets_the_value_of_its_own_last_state() -> None:
    lengths = iter([2, 3, 4])
    player = player_of(lambda: CountingGame(next(lengths), truncates=True), num_games=3)
    pieces, _ = player.play(12)
    for piece in pieces:
        assert piece.final_value == (SCALE * piece.observations[-1, 0] if piece.truncated else 0.0)
    assert {piece.final_value for piece in pieces if piece.truncated} == {2 * SCALE, 3 * SCALE, 4 * SCALE}


def test_a_terminated_game_ends_with_0() -> None:
    pieces, _ = player_of().play(5)
    assert all(piece.terminated and piece.final_value == 0.0 for piece in pieces)


def test_a_game_that_ends_in_the_move_that_exhausts_its_time_is_terminated() -> None:
    class Both(CountingGame):
        def step(self, action: int) -> Any:
            observation, reward, terminated, _, info = super().step(action)
            return observation, reward, terminated, terminated, info

    pieces, report = player_of(Both).play(5)
    assert all((piece.terminated, piece.truncated) == (True, False) for piece in pieces)
    assert not any(episode.truncated for episode in report.episodes)


def test_the_model_is_always_asked_about_as_many_states_as_there_are_games() -> None:
    model = FakeModel()
    player = SelfPlayer(
        lambda: CountingGame(3, truncates=True), FakePlanner(), model, num_games=5, seed=np.random.SeedSequence(0)
    )
    player.set_weights({"scale": np.array([1.0])}, 0)
    player.play(10)
    assert set(model.batch_sizes) == {5}


def test_no_row_idles_and_every_game_has_its_own_id_and_seed() -> None:
    pieces, report = player_of(game_id_start=1 << 32).play(11)
    games = whole_games(pieces)
    assert sorted(games) == list(range(1 << 32, (1 << 32) + 12))
    assert len({piece.seed for piece in pieces}) == 12
    assert all(TRAINING_SEEDS[0] <= piece.seed < TRAINING_SEEDS[1] for piece in pieces)
    assert (report.env_steps, report.simulations, report.weights_version) == (44, 44 * 4, 7)
    assert len(report.episodes) == 8
    assert report.seconds.keys() == {"search", "games"}


def test_an_episode_sums_the_rewards_from_its_start_over_all_pieces() -> None:
    player = player_of(num_games=1)
    pieces = [piece for _ in range(5) for piece in player.play(1)[0]]
    _, report = player_of(num_games=1).play(5)
    (episode,) = report.episodes
    assert episode.returns == (sum(float(piece.rewards[0]) for piece in pieces),)
    assert (episode.length, episode.seed, episode.truncated) == (5, pieces[0].seed, False)


def test_with_two_players_a_reward_is_the_movers_gain_and_the_others_loss() -> None:
    pieces, report = player_of(lambda: CountingGame(3, num_players=2), num_games=1).play(3)
    first, second, third = (float(reward) for reward in pieces[0].rewards)
    total = first - second + third
    assert report.episodes[0].returns == (total, -total)


def test_equal_seed_sequences_give_identical_trajectories() -> None:
    seed = np.random.SeedSequence(5)
    first, second = (player_of(seed=seed, sampled_moves=2).play(7)[0] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)
        assert (one.seed, one.game_id, one.first_step) == (other.seed, other.game_id, other.first_step)


def test_different_actors_and_restarts_play_different_games() -> None:
    seeds = [role_seed(3, "self_play", index, restart) for index in (0, 1) for restart in (0, 1)]
    played = [player_of(seed=seed).play(5)[0] for seed in seeds]
    assert len({piece.seed for pieces in played for piece in pieces}) == 16
    assert len({tuple(piece.actions.tolist() for piece in pieces).__repr__() for pieces in played}) == 4


def test_the_ladders_of_noise_and_temperature_reach_the_planner() -> None:
    planner = FakePlanner()
    player_of(planner=planner, num_games=5, noise_scale=(0.0, 1.0), temperature=(1.0, 0.2)).play(1)
    np.testing.assert_allclose(planner.calls[0]["noise_scale"], [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(planner.calls[0]["temperature"], [1.0, 0.8, 0.6, 0.4, 0.2])


def test_a_game_that_an_actor_plays_alone_explores() -> None:
    planner = FakePlanner()
    player_of(planner=planner, num_games=1, noise_scale=(0.0, 1.0), temperature=(0.0, 1.0)).play(1)
    assert (planner.calls[0]["noise_scale"], planner.calls[0]["temperature"]) == (1.0, 1.0)


def test_noise_is_left_to_the_search_unless_a_game_is_to_keep_it() -> None:
    planner = FakePlanner()
    player_of(planner=planner).play(3)
    assert [call["gumbel"] for call in planner.calls] == [None, None, None]


def test_a_game_keeps_its_noise_for_so_many_moves_on_average() -> None:
    planner = FakePlanner()
    player_of(lambda: CountingGame(1000), planner=planner, num_games=50, noise_moves=8.0).play(400)
    noise = np.array([call["gumbel"] for call in planner.calls])
    assert noise.shape == (400, 50, 3)
    renewed = (noise[1:] != noise[:-1]).any(axis=2)
    assert renewed.mean() == pytest.approx(1 / 8, abs=0.01)
    # Whoever keeps it keeps all of it, games are renewed independently, and what is drawn is Gumbel noise.
    assert ((noise[1:] != noise[:-1]).all(axis=2) == renewed).all()
    assert renewed.sum(axis=1).var() == pytest.approx(50 / 8 * 7 / 8, rel=0.25)
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.07)


def test_a_new_game_starts_with_noise_of_its_own() -> None:
    planner = FakePlanner()
    player_of(lambda: CountingGame(5), planner=planner, num_games=2, noise_moves=1e9).play(15)
    noise = np.array([call["gumbel"] for call in planner.calls])
    starts = (noise[1:] != noise[:-1]).all(axis=(1, 2))
    assert np.flatnonzero(starts).tolist() == [4, 9]


def test_the_temperature_falls_to_0_after_so_many_moves_of_each_game() -> None:
    planner = FakePlanner()
    lengths = iter([3, 5])
    player_of(lambda: CountingGame(next(lengths)), planner=planner, num_games=2, temperature_moves=2).play(7)
    # The first game starts anew after moves 3 and 6, the second after move 5.
    assert [call["temperature"].tolist() for call in planner.calls] == [
        [1, 1],
        [1, 1],
        [0, 0],
        [1, 0],
        [1, 0],
        [0, 1],
        [1, 1],
    ]


def test_only_opening_moves_are_drawn_from_the_search_policy() -> None:
    # Without noise the fake planner plays the policy's largest action, so any other was drawn.
    player = player_of(noise_scale=(0.0, 0.0), num_games=200, sampled_moves=2)
    pieces, _ = player.play(5)
    actions = np.array([piece.actions for piece in pieces])
    greedy = np.array([piece.search_policies.argmax(axis=1) for piece in pieces])
    assert (actions[:, 2:] == greedy[:, 2:]).all()
    wanted = pieces[0].search_policies[0]
    np.testing.assert_allclose(np.bincount(actions[:, 0], minlength=3) / 200, wanted, atol=0.12)


def test_sampled_actions_follow_the_policies_and_never_have_probability_0() -> None:
    rng = np.random.default_rng(0)
    policies = np.tile(np.array([0.0, 0.3, 0.0, 0.7, 0.0], np.float32), (20_000, 1))
    counts = np.bincount(sample_actions(policies, rng), minlength=5)
    assert counts[[0, 2, 4]].sum() == 0
    assert counts[1] / 20_000 == pytest.approx(0.3, abs=0.015)


def test_playing_without_weights_is_refused() -> None:
    player = SelfPlayer(CountingGame, FakePlanner(), FakeModel(), num_games=1, seed=np.random.SeedSequence(0))
    with pytest.raises(RuntimeError, match="call set_weights before play"):
        player.play(1)


def test_a_broken_game_stops_the_run_with_a_sentence() -> None:
    class Broken(CountingGame):
        def step(self, action: int) -> Any:
            observation, reward, *rest = super().step(action)
            return observation, float("nan") if self._step == 3 else reward, *rest

    with pytest.raises(
        GameError, match=r"broken.step: reward must be finite, got nan after action \d in step 3 \(seed"
    ):
        player_of(Broken).play(5)

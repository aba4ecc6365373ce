"""Turned windows: the same game on a turned board, in every part of the batch."""

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from reference.naive_replay import random_game
from reference.replay_buffers import all_indices, game_of, make_buffer

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import GameSpec, Symmetry
from muzero_ray.core.types import Trajectory
from muzero_ray.replay.augment import Augmenter
from muzero_ray.replay.buffer import ReplayBuffer

TICTACTOE = load_game("tictactoe")().spec
OPTIONS = {"batch_size": 64, "td_steps": 9, "unroll_steps": 3, "discount": 1.0}


def played(seed: int) -> Trajectory:
    """A game of tic-tac-toe at random; policies are all on the action played."""
    rng, game = np.random.default_rng(seed), load_game("tictactoe")()
    observations, actions, rewards, to_play, legal = [game.reset(0)[0]], [], [], [0], []
    over = False
    while not over:
        legal.append(game.legal_actions())
        actions.append(int(rng.choice(np.flatnonzero(legal[-1]))))
        observation, reward, over, _, _ = game.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
        to_play.append(game.to_play)
    return Trajectory(
        observations=np.array(observations),
        actions=np.array(actions, np.int32),
        rewards=np.array(rewards, np.float32),
        to_play=np.array(to_play, np.int8),
        legal_actions=np.array(legal),
        search_policies=np.eye(9, dtype=np.float32)[actions],
        root_values=np.zeros(len(actions), np.float32),
        terminated=True,
        truncated=False,
        final_value=0.0,
        weights_version=0,
        seed=0,
        game_id=seed,
        first_step=0,
    )


def filled(augment: bool) -> ReplayBuffer:
    buffer = make_buffer(TICTACTOE, **OPTIONS, augment=augment)
    for seed in range(20):
        buffer.add(played(seed))
    return buffer


def test_tictactoe_has_all_eight_ways_to_lay_the_board():
    assert len(TICTACTOE.symmetries) == 7
    assert len({tuple(symmetry.cells) for symmetry in TICTACTOE.symmetries} | {tuple(range(9))}) == 8


@pytest.mark.parametrize("which", range(8))
def test_a_turned_window_is_the_window_of_the_turned_game(which: int):
    batch = filled(False).sample()
    turned = Augmenter(TICTACTOE.symmetries).turn(batch, np.full(64, which))
    cells = np.arange(9) if which == 0 else TICTACTOE.symmetries[which - 1].cells
    actions = np.arange(9) if which == 0 else TICTACTOE.symmetries[which - 1].actions
    for row in range(64):
        for plane, before in zip(turned.observations[row], batch.observations[row], strict=True):
            np.testing.assert_array_equal(plane.ravel(), before.ravel()[cells])
        assert turned.actions[row].tolist() == [actions[action] for action in batch.actions[row]]
        for k in range(4):
            for action in range(9):
                assert turned.target_policies[row, k, actions[action]] == batch.target_policies[row, k, action]
        for k in range(3):
            if batch.observation_mask[row, k]:
                # A stone of the mover, who sees it as the other's now, lies where the turned action put it.
                assert turned.next_observations[row, k, 1].ravel()[turned.actions[row, k]] == 1


def test_what_a_turn_does_not_touch_stays_as_it_was():
    batch = filled(False).sample()
    turned = Augmenter(TICTACTOE.symmetries).turn(batch, np.arange(64) % 8)
    for name in (field.name for field in fields(batch)):
        if name not in ("observations", "actions", "target_policies", "next_observations"):
            np.testing.assert_array_equal(getattr(turned, name), getattr(batch, name))


def test_the_buffer_turns_what_it_draws_and_every_way_is_drawn():
    plain, turned = filled(False), filled(True)
    firsts = {batch.observations.tobytes() for batch in (plain.sample(), turned.sample())}
    assert len(firsts) == 2
    # A first move on a side square, turned in eight ways, is seen on each of the four sides.
    seen = set()
    for _ in range(30):
        batch = turned.sample()
        first = batch.observations.reshape(64, -1).sum(axis=1) == 0
        seen |= set(batch.actions[first, 0].tolist()) & {1, 3, 5, 7}
    assert seen == {1, 3, 5, 7}


def test_named_windows_are_not_turned_and_games_without_symmetries_draw_as_ever():
    plain, turned = filled(False), filled(True)
    indices = all_indices(plain)[:10]
    np.testing.assert_array_equal(plain.windows(indices).observations, turned.windows(indices).observations)
    batches = []
    for augment in (False, True):
        buffer = make_buffer(augment=augment)
        for game_id in range(10):
            game = random_game(np.random.default_rng(game_id), game_id)
            buffer.add(game.next_piece(game.length))
        batches.append(buffer.sample())
    np.testing.assert_array_equal(batches[0].observations, batches[1].observations)
    np.testing.assert_array_equal(batches[0].actions, batches[1].actions)


def test_whose_turn_comes_next_is_told_where_turns_do_not_alternate():
    spec = GameSpec(observation_shape=(2,), num_actions=3, num_players=2, alternating=False)
    buffer = make_buffer(spec, unroll_steps=4)
    games = [random_game(np.random.default_rng(game_id), game_id) for game_id in range(30)]
    for game in games:
        while game.delivered < game.length:
            buffer.add(game.next_piece(3))
    batch = buffer.windows(all_indices(buffer))
    batch.check()
    counted = 0
    for row, (game_id, start) in enumerate(batch.observations.astype(int)):
        game = games[game_id]
        for k in range(4):
            t = start + k
            over = game.ending == "terminated" and t + 1 == game.length
            known = t + 1 <= game.last_state and not over
            assert batch.turn_mask[row, k] == known
            if known:
                assert batch.same_player[row, k] == (game.to_play[t] == game.to_play[t + 1])
                counted += 1
    assert counted > 100


def test_nothing_is_told_of_turns_where_they_alternate():
    batch = filled(True).sample()
    assert batch.same_player is None
    assert batch.turn_mask is None


def test_stacked_frames_are_turned_all_alike():
    mirror = Symmetry(cells=np.array([2, 1, 0, 5, 4, 3]), actions=np.array([1, 0, 2]))
    spec = GameSpec((2, 2, 3), num_actions=3, observation_dtype="uint8", frame_stack=3, symmetries=(mirror,))
    buffer = make_buffer(spec)
    piece = game_of(6).next_piece(6)
    buffer.add(replace(piece, observations=np.arange(7 * 12, dtype=np.uint8).reshape(7, 2, 2, 3)))
    batch = buffer.windows(np.arange(4))
    turned = Augmenter(spec.symmetries).turn(batch, np.array([0, 1, 0, 1]))
    for row, mirrored in enumerate((False, True, False, True)):
        flip = slice(None, None, -1) if mirrored else slice(None)
        np.testing.assert_array_equal(turned.observations[row], batch.observations[row][..., flip])
        np.testing.assert_array_equal(turned.next_observations[row], batch.next_observations[row][..., flip])
    for name, value in vars(pickle.loads(pickle.dumps(turned))).items():
        np.testing.assert_array_equal(value, getattr(turned, name), name)

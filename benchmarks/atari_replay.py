"""Memory and time of the replay buffer with Atari: `python benchmarks/atari_replay.py` fills it by random play.

Prints how much memory the buffer says that it takes and how much the process has grown, and how long it takes to draw
batches: first states only, and with the states reached, which the consistency loss asks for. Nothing else should run
on the machine meanwhile; one core is used.
"""

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game
from muzero_ray.core.types import Trajectory
from muzero_ray.replay.buffer import ReplayBuffer

UNROLL_STEPS = 5


class RandomPlayer:
    """Plays one game after another at random, and hands over pieces of so many moves as self-play does."""

    def __init__(self, game: Game, number: int) -> None:
        self._game = game
        self._rng = np.random.default_rng(number)
        self._next_id = number << 32
        self._start()

    def _start(self) -> None:
        self._seed = int(self._rng.integers(2**31))
        self._game_id, self._first_step = self._next_id, 0
        self._next_id += 1
        self._frames = [self._game.reset(self._seed)[0]]

    def pieces(self, moves: int) -> Iterator[Trajectory]:
        """So many moves, in as many pieces as games."""
        actions, rewards = list[int](), list[float]()
        for move in range(moves):
            action = int(self._rng.integers(self._game.spec.num_actions))
            frame, reward, terminated, truncated, _ = self._game.step(action)
            self._frames.append(frame)
            actions.append(action)
            rewards.append(reward)
            if terminated or truncated or move == moves - 1:
                yield self._piece(actions, rewards, terminated, truncated and not terminated)
                if terminated or truncated:
                    self._start()
                else:
                    self._first_step += len(actions)
                    self._frames = self._frames[-1:]
                actions, rewards = [], []

    def _piece(self, actions: list[int], rewards: list[float], terminated: bool, truncated: bool) -> Trajectory:
        steps, num_actions = len(actions), self._game.spec.num_actions
        return Trajectory(
            observations=np.stack(self._frames),
            actions=np.array(actions, np.int32),
            rewards=np.array(rewards, np.float32),
            to_play=np.zeros(steps + 1, np.int8),
            legal_actions=np.ones((steps, num_actions), bool),
            search_policies=np.full((steps, num_actions), 1 / num_actions, np.float32),
            root_values=np.zeros(steps, np.float32),
            terminated=terminated,
            truncated=truncated,
            final_value=0.0,
            weights_version=0,
            seed=self._seed,
            game_id=self._game_id,
            first_step=self._first_step,
        )


def make_buffer(game: Game, transitions: int, batch_size: int) -> ReplayBuffer:
    """A buffer with room for all of them, last states included."""
    return ReplayBuffer(
        game.spec,
        capacity_steps=transitions + transitions // 20,
        capacity_bytes=10**10,
        batch_size=batch_size,
        unroll_steps=UNROLL_STEPS,
        td_steps=5,
        off_policy_cut=0.0,
        off_policy_cut_warmup=0,
        policy_smoothing=0.0,
        discount=0.997,
        prioritized=True,
        priority_exponent=1.0,
        importance_exponent=1.0,
        with_next_observations=False,
        rng=np.random.default_rng(0),
    )


def fill(buffer: ReplayBuffer, players: list[RandomPlayer], transitions: int, moves: int) -> float:
    """Fills the buffer and returns the seconds that storing took."""
    storing = 0.0
    while buffer.num_steps < transitions:
        for player in players:
            for piece in player.pieces(moves):
                began = time.perf_counter()
                buffer.add(piece)
                storing += time.perf_counter() - began
    return storing


def milliseconds(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median, smallest and largest time of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - began))
    return {"median": float(np.median(times)), "smallest": min(times), "largest": max(times)}


def measure(buffer: ReplayBuffer, batch_size: int, repeats: int) -> dict[str, dict[str, float]]:
    """How long it takes to draw a batch, with and without what may be asked for besides."""
    found = {"first states": milliseconds(buffer.sample, repeats)}
    found["reanalyze request"] = milliseconds(lambda: buffer.reanalyze_request(batch_size), repeats)
    buffer._with_next_observations = True
    found["with states reached"] = milliseconds(buffer.sample, repeats)
    buffer._with_next_observations = False
    buffer.bootstrap_from(lambda observations: np.zeros(len(observations), np.float32))
    found["first states, and those that fresh values are asked of"] = milliseconds(buffer.sample, max(3, repeats // 5))
    return found


def main() -> None:
    """Fills, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="atari:Pong", help="a game of frames")
    parser.add_argument("--transitions", type=int, default=100_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--games", type=int, default=8, help="played by turns")
    parser.add_argument("--moves", type=int, default=64, help="of each, between two deliveries")
    parser.add_argument("--repeats", type=int, default=100, help="batches of which the median is taken")
    parser.add_argument("--json", help="write the figures to this file, too")
    options = parser.parse_args()

    make_game = load_game(options.game)
    players = [RandomPlayer(make_game(), number) for number in range(options.games)]
    game = make_game()
    small = make_buffer(game, 100, options.batch_size)
    fill(small, players, 100, options.moves)
    measure(small, options.batch_size, 1)  # compiles
    del small
    gc.collect()
    before = psutil.Process().memory_info().rss
    buffer = make_buffer(game, options.transitions, options.batch_size)
    began = time.perf_counter()
    storing = fill(buffer, players, options.transitions, options.moves)
    seconds = time.perf_counter() - began
    grown = psutil.Process().memory_info().rss - before
    figures = {
        "game": options.game,
        "observation_shape": list(game.spec.observation_shape),
        "frame_stack": game.spec.frame_stack,
        "transitions": buffer.num_steps,
        "buffer_mb": buffer.memory_bytes / 1e6,
        "process_grown_mb": grown / 1e6,
        "frames_uncompressed_mb": buffer.num_steps * int(np.prod(game.spec.observation_shape)) / 1e6,
        "store_us_per_transition": 1e6 * storing / buffer.num_steps,
        "fill_seconds": seconds,
        "batch_size": options.batch_size,
        "unroll_steps": UNROLL_STEPS,
        "load_average": os.getloadavg()[0],
        "milliseconds": measure(buffer, options.batch_size, options.repeats),
    }
    print(json.dumps(figures, indent=1))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()

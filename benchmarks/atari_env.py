"""How fast are Atari's frames made, one game at a time, and by ALE's own vectorised environment?

    taskset -c 0 python benchmarks/atari_env.py [--game Pong] [--games 16] [--steps 200] [--repeats 5]

Both play the same number of games at random on one core, four frames a step, seen at 96 x 96. Prints env steps per
second, the median of the repeats, which take turns, and what emulation alone makes.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import ale_py
import numpy as np
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv

from muzero_ray.adapters.atari_game import AtariGame
from muzero_ray.core.game import Game

FRAME_SKIP = 4
SIZE = 96


def ours(name: str, games: int, colour: bool) -> Callable[[int], None]:
    """Steps all games in turn, and resets those that end."""
    all_games = [AtariGame(name, preset="muzero", full_actions=False, size=SIZE, colour=colour) for _ in range(games)]
    rng = np.random.default_rng(0)
    for seed, game in enumerate(all_games):
        game.reset(seed)
    seeds = iter(range(games, 1 << 30))

    def play(steps: int) -> None:
        for _ in range(steps):
            for game in all_games:
                _step(game, int(rng.integers(game.spec.num_actions)), seeds)

    return play


def _step(game: Game, action: int, seeds) -> None:
    _, _, terminated, truncated, _ = game.step(action)
    if terminated or truncated:
        game.reset(next(seeds))


def vectorised(name: str, games: int, colour: bool) -> Callable[[int], None]:
    """The same by ALE, with one thread."""
    game_id = next(rom for rom in roms.get_all_rom_ids() if rom.title().replace("_", "") == name)
    environments = AtariVectorEnv(
        game_id,
        games,
        num_threads=1,
        img_height=SIZE,
        img_width=SIZE,
        grayscale=not colour,
        stack_num=1,
        frameskip=FRAME_SKIP,
        noop_max=30,
        reward_clipping=False,
        use_fire_reset=False,
    )
    environments.reset(seed=0)
    rng, actions = np.random.default_rng(0), environments.single_action_space.n

    def play(steps: int) -> None:
        for _ in range(steps):
            environments.step(rng.integers(actions, size=games))

    return play


def emulation(name: str) -> Callable[[int], None]:
    """Frames alone: nothing is looked at."""
    ale = ale_py.ALEInterface()
    ale.loadROM(roms.get_rom_path(next(rom for rom in roms.get_all_rom_ids() if rom.title().replace("_", "") == name)))
    actions, rng = ale.getMinimalActionSet(), np.random.default_rng(0)

    def play(steps: int) -> None:
        for _ in range(steps):
            action = actions[rng.integers(len(actions))]
            for _ in range(FRAME_SKIP):
                ale.act(action)
            if ale.game_over():
                ale.reset_game()

    return play


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="Pong")
    parser.add_argument("--games", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    name, games = options.game, options.games
    players: dict[str, tuple[Callable[[int], None], int]] = {"emulation alone": (emulation(name), 1)}
    for colour in (False, True):
        kind = "colour" if colour else "grey"
        players[f"ours, {kind}"] = (ours(name, games, colour), games)
        players[f"vectorised, {kind}"] = (vectorised(name, games, colour), games)
    rates: dict[str, list[float]] = {what: [] for what in players}
    for _ in range(options.repeats):
        for what, (play, at_once) in players.items():
            steps = options.steps * games // at_once
            began = time.perf_counter()
            play(steps)
            rates[what].append(steps * at_once / (time.perf_counter() - began))
    for what, found in rates.items():
        print(f"{what:20}{median(found):10,.0f} env steps/s")
    print(
        json.dumps({"game": name, "games": games, "env_steps_per_s": {k: round(median(v)) for k, v in rates.items()}})
    )


if __name__ == "__main__":
    main()

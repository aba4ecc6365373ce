"""Compiles what is compiled at first use, so that the first run need not: `python -m muzero_ray.app.warm_up`.

numba keeps the machine code beside the sources. `make setup` calls this once; without it the first run
starts some ten seconds later.
"""

import sys
import time

from muzero_ray.actors import build
from muzero_ray.adapters.loading import shipped_games
from muzero_ray.app.config_io import game_file, make_config
from muzero_ray.core.config import Config

_SMALL = {"search.num_simulations": 2, "self_play.games_per_actor": 4, "reanalyze.batch_size": 8, "train.batch_size": 8}
"""What is compiled depends on the kinds of numbers, not on how many there are."""


def main() -> int:
    """Plays, stores, samples and searches again a little with every shipped game."""
    began = time.perf_counter()
    for game in shipped_games():
        warm_up(make_config(game_file(game), {"game": game, **_SMALL}))
    print(f"compiled what the games need in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return 0


def warm_up(config: Config) -> None:
    """Runs every compiled function that a run with this configuration calls."""
    from muzero_ray.nn.networks import build_network, to_weights

    spec = build.Agent(config).spec
    weights = to_weights(build_network(config.network, spec, consistency=False, seed=0))
    player, reanalyzer = build.make_self_player(config, 0, 0), build.make_reanalyzer(config, 0)
    buffer = build.make_replay_buffer(config)
    if config.reanalyze.fresh_values:
        fresh_values = build.FreshValues(config)
        fresh_values.set_weights(weights)
        buffer.bootstrap_from(fresh_values)
    player.set_weights(weights, 0)
    reanalyzer.set_weights(weights, 0)
    trajectories, _ = player.play(config.self_play.segment_moves)
    for trajectory in trajectories:
        buffer.add(trajectory)
    buffer.sample()
    buffer.refresh(reanalyzer.reanalyze(buffer.reanalyze_request(config.reanalyze.batch_size)))


if __name__ == "__main__":
    sys.exit(main())

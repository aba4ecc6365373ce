"""Turns a `Config` into the plain object of every role: the one place where options become objects.

Which inference engine runs is chosen here, and nowhere else. Nothing here imports Ray, and torch is
imported only by what needs it, so that an actor with the compiled engine stays small and starts fast.
"""

from collections.abc import Callable

import numpy as np

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.config import Config
from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.rate_limiter import Pace, RateLimiter
from muzero_ray.core.rng import role_seed
from muzero_ray.core.types import Weights
from muzero_ray.mcts.planner import Planner, make_planner
from muzero_ray.play.acting_model import ActingModel
from muzero_ray.play.reanalyze import Reanalyzer
from muzero_ray.play.self_play import SelfPlayer
from muzero_ray.play.self_play_groups import SelfPlayGroups
from muzero_ray.replay.buffer import ReplayBuffer

GPU = "cuda"
"""Where networks work that take a share of a GPU."""
_ROWS_ON_GPU = 256
"""States of which a GPU is asked for the fresh values come in multiples of so many."""


class Agent:
    """A game, a network and a planner: what it takes to play.

    Attributes:
        make_game: makes one more game.
        spec: of the game.
        planner: the search, with this configuration's options.
        model: the network, in the engine that suits it; on a GPU if it has a share of one.
    """

    def __init__(
        self,
        config: Config,
        weights: Weights | None = None,
        gpus: float = 0.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.make_game: Callable[[], Game] = load_game(config.game)
        self.spec = game_spec(self.make_game)
        self.planner: Planner = make_planner(config.search, self.spec.value_bounds)
        self.model = make_model(config, self.spec, gpus, say)
        if weights is not None:
            self.model.set_weights(weights)


def game_spec(make_game: Callable[[], Game]) -> GameSpec:
    """The spec of a game, which may be known only once one is made."""
    game = make_game()
    try:
        return game.spec
    finally:
        game.close()


def make_model(
    config: Config, spec: GameSpec, gpus: float = 0.0, say: Callable[[str], None] = lambda _: None
) -> ActingModel:
    """The network as a search model: compiled for MLPs on a CPU, torch for everything else.

    Args:
        config: of the run.
        spec: of the game.
        gpus: share of a GPU that it has; 0: it works on the CPU.
        say: told in sentences what of a GPU cannot be used.

    Raises:
        ValueError: if it has a share of a GPU, and there is none.
    """
    # Where players take turns, the state reached is worth to the mover minus what it is worth to the next.
    discount = -config.train.discount if spec.num_players == 2 else config.train.discount
    if gpus > 0:
        from muzero_ray.nn.hardware import usable_device, usable_precision
        from muzero_ray.nn.networks import build_network
        from muzero_ray.nn.resident import ResidentModel

        precision = usable_precision(config.system.precision, usable_device(GPU))
        if precision.note:
            say(precision.note)
        network = build_network(config.network, spec, consistency=False)
        return ResidentModel(network, discount, GPU, dtype=precision.dtype, say=say)
    if config.system.engine == "torch" or config.network.kind != "mlp":
        from muzero_ray.nn.inference import TorchModel
        from muzero_ray.nn.networks import build_network

        return TorchModel(build_network(config.network, spec, consistency=False), discount)
    from muzero_ray.engine.mlp import CompiledMLP

    return CompiledMLP(config.network, spec, discount)


def make_self_player(
    config: Config, index: int, restart: int, say: Callable[[str], None] = lambda _: None
) -> SelfPlayer | SelfPlayGroups:
    """Self-play actor number `index`, started for the `restart`-th time (0: the first).

    Args:
        config: of the run.
        index: of the actor.
        restart: how often it was started before.
        say: told in sentences what of a GPU cannot be used.
    """
    seed = role_seed(config.seed, "self_play", index, restart)
    # Game ids stay unique in a run: 2**32 games for each start of each of 2**20 actors.
    first_id = ((restart << 20) | index) << 32
    games, groups = config.self_play.games_per_actor, config.self_play.groups
    if groups == 1:
        return _make_player(config, games, seed, first_id, say)
    sizes = [games // groups + (group < games % groups) for group in range(groups)]
    return SelfPlayGroups(
        [
            _make_player(config, size, own_seed, first_id + group * (2**32 // groups), say)
            for group, (size, own_seed) in enumerate(zip(sizes, seed.spawn(groups), strict=True))
        ]
    )


def _make_player(
    config: Config, num_games: int, seed: np.random.SeedSequence, game_id_start: int, say: Callable[[str], None]
) -> SelfPlayer:
    options = config.self_play
    agent = Agent(config, gpus=options.num_gpus, say=say)
    return SelfPlayer(
        agent.make_game,
        agent.planner,
        agent.model,
        num_games=num_games,
        noise_scale=options.noise_scale,
        noise_moves=options.noise_moves if config.search.algorithm == "gumbel" else 1.0,
        temperature=options.temperature,
        temperature_moves=options.temperature_moves,
        sampled_moves=options.sampled_moves,
        random_opening_moves=options.random_opening_moves,
        resign_value=options.resign_value,
        resign_exempt=options.resign_exempt,
        seed=seed,
        game_id_start=game_id_start,
    )


def make_reanalyzer(config: Config, restart: int, say: Callable[[str], None] = lambda _: None) -> Reanalyzer:
    """The role that searches stored positions again, started for the `restart`-th time (0: the first).

    Args:
        config: of the run.
        restart: how often it was started before.
        say: told in sentences what of a GPU cannot be used.
    """
    agent = Agent(config, gpus=config.reanalyze.num_gpus, say=say)
    return Reanalyzer(
        agent.planner,
        agent.model,
        num_simulations=config.reanalyze.num_simulations,
        noise_scale=config.reanalyze.noise_scale,
        rng=np.random.default_rng(role_seed(config.seed, "reanalyze", 0, restart)),
    )


class FreshValues:
    """The network's present values of states, for value targets to bootstrap from; see `reanalyze.fresh_values`.

    Args:
        config: of the run.
        say: told in sentences what of a GPU cannot be used.
    """

    def __init__(self, config: Config, say: Callable[[str], None] = lambda _: None) -> None:
        gpus = config.buffer_gpus
        self._model = make_model(config, game_spec(load_game(config.game)), gpus, say)
        # A GPU keeps memory and a graph for each number of states that it has been asked for.
        self._multiple = _ROWS_ON_GPU if gpus > 0 else 1

    def set_weights(self, weights: Weights) -> None:
        """Values are those of these weights from now on."""
        self._model.set_weights(weights)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """`[n, ...]` observations to `[n]` values, each for the player to move."""
        count = len(observations)
        if more := -count % self._multiple:
            nothing = np.zeros((more, *observations.shape[1:]), observations.dtype)
            observations = np.concatenate([observations, nothing])
        return self._model.initial(observations, num_nodes=1).values[:count]


def make_replay_buffer(config: Config, shard: int = 0) -> ReplayBuffer:
    """The empty replay buffer, or a shard of it with its share of the capacity. Its generator is part of its state, and
    goes on where a snapshot left off."""
    shards = config.replay.shards
    return ReplayBuffer(
        game_spec(load_game(config.game)),
        capacity_steps=config.replay.capacity_steps // shards,
        capacity_bytes=config.replay.capacity_mb * 1_000_000 // shards,
        batch_size=config.train.batch_size // config.train.num_gpus,
        unroll_steps=config.train.unroll_steps,
        td_steps=config.train.td_steps,
        off_policy_cut=config.train.off_policy_cut,
        off_policy_cut_warmup=config.train.off_policy_cut_warmup // shards,  # it counts its own transitions
        policy_smoothing=config.train.policy_smoothing,
        discount=config.train.discount,
        prioritized=config.replay.prioritized,
        priority_exponent=config.replay.priority_exponent,
        importance_exponent=config.replay.importance_exponent,
        with_next_observations=config.train.consistency_weight > 0,
        augment=config.replay.augment,
        rng=np.random.default_rng(role_seed(config.seed, "replay", shard)),
    )


def make_rate_limiter(config: Config, num_actors: int) -> RateLimiter:
    """The pace: `replay_ratio` for training, `reanalyze.ratio` for reanalysis."""
    consumers = {"train": Pace(config.train.replay_ratio, config.train.batch_size, config.replay.min_steps)}
    if config.reanalyze.ratio > 0:
        consumers["reanalyze"] = Pace(config.reanalyze.ratio, config.reanalyze.batch_size, config.replay.min_steps)
    return RateLimiter(consumers, overlap_batches(config, num_actors))


def overlap_batches(config: Config, num_actors: int) -> float:
    """Batches that a consumer may be short of its due: those of one delivery of every actor, so that acting and
    learning overlap."""
    delivery = max(1, num_actors) * config.self_play.games_per_actor * config.self_play.segment_moves
    train, reanalyze = config.train, config.reanalyze
    return max(2.0, delivery * train.replay_ratio / train.batch_size, delivery * reanalyze.ratio / reanalyze.batch_size)

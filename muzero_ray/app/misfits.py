"""What must be refused before a run starts: a game that cannot start, and options that do not fit it.

The sentences join those of `config_io`, so that all mistakes are told at once. What is valid whatever the
game is said by `core.config`.
"""

import math

from muzero_ray.app.errors import game_in_words
from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec


def game_mistakes(name: str) -> tuple[GameSpec | None, list[str]]:
    """Makes a game and resets it once.

    Args:
        name: a shipped game, a Python file, gymnasium:ENV_ID, open_spiel:NAME or atari:NAME.

    Returns:
        Its spec, None if it cannot be used, and what is wrong with it.
    """
    from muzero_ray.adapters.loading import load_game
    from muzero_ray.core.game_check import CheckedGame, spec_problems

    try:
        game = load_game(name)()
        if problems := spec_problems(game):
            return None, problems
        CheckedGame(game).reset(0)
        game.close()
    except Exception as error:
        told = game_in_words(error)
        if told is None:
            raise
        return None, [told.replace("\n", "\n    ")]
    return game.spec, []


def misfits(config: Config, spec: GameSpec) -> list[str]:
    """What a configuration asks of a game that the game, or the buffer for it, cannot give: a sentence each."""
    found = []
    normalization = config.search.q_normalization
    if normalization == "bounds" and spec.value_bounds is None:
        found.append(
            "search.q_normalization: bounds needs a game that states its value_bounds, got none; "
            "state them in the game's spec, or choose tree or node"
        )
    if normalization == "tree" and spec.num_players == 2:
        found.append(
            "search.q_normalization: tree mixes the values of both players in a game for two; "
            "choose bounds (if the game's spec states value_bounds) or node"
        )
    if config.network.value_head == "scalar" and spec.value_bounds is None:
        found.append(
            "network.value_head: scalar needs a game that states its value_bounds, got none; "
            "state them in the game's spec, or choose categorical"
        )
    resign_value = config.self_play.resign_value
    if resign_value is not None and (spec.num_players != 2 or spec.value_bounds is None):
        found.append(
            "self_play.resign_value: needs a game for two that states its value_bounds, got "
            f"{'one without' if spec.num_players == 2 else 'a game for one'}; set it to none"
        )
    elif resign_value is not None and spec.value_bounds is not None and resign_value >= -spec.value_bounds[0]:
        found.append(
            f"self_play.resign_value: wanted less than {-spec.value_bounds[0]}, for no value is below "
            f"{spec.value_bounds[0]} (the game's value_bounds), got {resign_value}; set it to none to give up no game"
        )
    return found + _conv_misfits(config, spec) + _buffer_misfits(config, spec)


def _conv_misfits(config: Config, spec: GameSpec) -> list[str]:
    """A convolutional network without a board or frames, or in an engine that knows no such networks; or an MLP that is
    to see frames."""
    kind = config.network.kind
    frames = spec.observation_dtype == "uint8" and len(spec.input_shape) == 3 and min(spec.input_shape[1:]) >= 17
    if kind == "mlp":
        told = f"network.kind: mlp would see a frame {spec.input_shape} as {math.prod(spec.input_shape):,} numbers"
        return [f"{told}; use image"] if frames else []
    found = []
    if len(spec.input_shape) != 3:
        what = "boards" if kind == "conv" else "frames"
        found.append(
            f"network.kind: {kind} needs a game whose observations are {what} [C, H, W], got shape "
            f"{spec.observation_shape}; use mlp"
        )
    elif kind == "image" and min(spec.input_shape[1:]) < 17:
        found.append(
            "network.kind: image needs frames of at least 17 x 17, for 16 x 16 pixels become one cell, got shape "
            f"{spec.observation_shape}; use conv, which keeps the size"
        )
    elif kind == "image" and any(said is not None for said in (spec.action_planes, spec.action_cells, spec.turn_cells)):
        found.append("network.kind: image is for frames, got a board on which actions have places; use conv")
    if config.system.engine == "compiled":
        found.append(f"system.engine: compiled runs networks of kind mlp only, got {kind}; use torch or auto")
    return found


def _buffer_misfits(config: Config, spec: GameSpec) -> list[str]:
    """A buffer that is too small to learn from."""
    from muzero_ray.replay.buffer import ReplayBuffer

    size = ReplayBuffer.bytes_per_state(spec)
    room = config.replay.capacity_mb * 1_000_000 // size
    least = max(2, config.train.batch_size)  # a transition is two states; less than a batch is drawn again and again
    found = []
    if config.replay.capacity_steps < least:
        found.append(
            f"replay.capacity_steps: wanted at least train.batch_size, {least}, got {config.replay.capacity_steps}"
        )
    least = max(least, config.replay.min_steps)
    if room < least:
        found.append(
            f"replay.capacity_mb: wanted room for {least} states (train.batch_size, replay.min_steps), got "
            f"{config.replay.capacity_mb} MB, which hold {room} of {size} bytes; use {-(-least * size // 1_000_000)}"
        )
    return found


def opponent_misfits(config: Config) -> list[str]:
    """Opponents for evaluation that a game for two does not know, or engines that are not there: a sentence each."""
    from muzero_ray.adapters.loading import load_game
    from muzero_ray.play.opponent import OpponentError, UnknownOpponentError
    from muzero_ray.play.opponents import make_opponent

    names = [name.strip() for name in config.evaluate.opponents.split(",")]
    if not all(names):
        return [f"evaluate.opponents: wanted names with commas between them, got {config.evaluate.opponents!r}"]
    found = []
    game = load_game(config.game)()
    for name in names:
        try:
            make_opponent(name, game).close()
        except (OpponentError, UnknownOpponentError) as error:
            found.append(f"evaluate.opponents: {error}")
    game.close()
    return found

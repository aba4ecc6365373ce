"""Plays any Gymnasium environment with discrete actions as a `Game`: vectors, images, and dictionaries of vectors.

The environment is taken as it is: its own rewards, its own random start, its own time limit and frame skip. Images
become frames (`adapters/frames.py`), everything else one vector. What it does not do: images together with vectors,
continuous actions and wrappers of any kind; a game file of your own does those.
"""

import difflib
import functools
import json
import os
from collections.abc import Callable
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.spaces.utils import flatdim, flatten
from pydantic import Field

from muzero_ray.adapters.frames import FrameShrinker, to_grey
from muzero_ray.adapters.named_options import NamedOptions, read_options, split_name
from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.game_loader import GameLoadError

# Unbounded observations are cut off here. Float32 reaches 3e38, but a network that adds up squares does not.
OBSERVATION_LIMIT = 1e9
_FLOAT32 = np.dtype(np.float32)
_SURELY_WITHIN = OBSERVATION_LIMIT**2 / 10  # a sum of squares below this leaves no number near the limit
_CHANNELS = (1, 3, 4)
_CONTAINERS = (Dict, Tuple)
_NUMBERS = (Box, Discrete, MultiDiscrete, MultiBinary)
_Encoder = Callable[[Any], np.ndarray]


class ImageOptions(NamedOptions):
    """How images are observed."""

    size: int = Field(96, ge=8, le=512)
    """Largest height and width of an observation in pixels; an image that is smaller is taken as it is."""
    colour: bool = True
    """Observations in the image's colours, or `[1, H, W]` in grey."""
    frame_stack: int = Field(4, ge=1)
    """Observations that the network sees at once."""


class GymnasiumGame(Game):
    """One Gymnasium environment behind the `Game` interface, for one player.

    Args:
        env_id: as in `gymnasium.make`, e.g. "CartPole-v1".
        images: how images are observed; None: as `ImageOptions` says by default. Vectors have no such options.
        **kwargs: further arguments of `gymnasium.make`, e.g. `max_episode_steps=200`.

    Raises:
        GameLoadError: if there is no such environment, if something that it needs is not installed, or if its
            spaces are not supported; the message says what to do.
    """

    spec: GameSpec

    def __init__(self, env_id: str, *, images: ImageOptions | None = None, **kwargs: Any) -> None:
        self._env_id = env_id
        self._kwargs = kwargs
        self._env = _make_env(env_id, **kwargs)
        self._first_action, num_actions = _action_range(env_id, self._env.action_space)
        space = self._env.observation_space
        shape: tuple[int, ...]
        if (path := _path_to_image(space)) is not None:
            options = images or ImageOptions()
            self._encode, shape = _image_encoder(env_id, space, path, options)
            self.spec = GameSpec(
                observation_shape=shape,
                num_actions=num_actions,
                observation_dtype="uint8",
                frame_stack=options.frame_stack,
                protocol=f"{env_id}, as Gymnasium has it: frames {shape[1]}x{shape[2]} of {shape[0]} channels, "
                f"{options.frame_stack} stacked",
            )
        else:
            if images is not None:
                raise GameLoadError(f"{env_id}: size, colour and frame_stack are for images, got {space}")
            self._encode, shape = _vector_encoder(env_id, space)
            self.spec = GameSpec(observation_shape=shape, num_actions=num_actions)
        self._draws = False
        self._running = False
        # Enough to play the present episode again, should a picture of it be wanted.
        self._seed = 0
        self._actions: list[int] = []

    @classmethod
    def named(cls, text: str) -> Self:
        """The game of a name with options, those of `ImageOptions` and of the environment itself:
        "CarRacing-v3(continuous=false,size=64)". Where no image is observed, all are the environment's.

        Raises:
            GameLoadError: as the constructor, and if the options cannot be read.
        """
        env_id, given = split_name(text)
        others = {option: value for option, value in given.items() if option not in ImageOptions.model_fields}
        chosen = None
        if len(others) < len(given) and _shows_image(env_id, tuple(others.items())):
            images = {option: value for option, value in given.items() if option not in others}
            chosen, given = read_options(ImageOptions, env_id, images), others
        return cls(env_id, images=chosen, **{option: _value_of(value) for option, value in given.items()})

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; see `Game.reset`."""
        observation, info = self._env.reset(seed=seed)
        self._seed = seed
        self._actions.clear()
        self._running = True
        return self._encode(observation), info

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays an action; `truncated` is true when the environment's time limit stopped it. See `Game.step`."""
        if not self._running:
            raise ValueError(f"{self._env_id}: the episode is over; call reset first")
        if not 0 <= action < self.spec.num_actions:
            raise ValueError(f"{self._env_id}: action must lie in 0..{self.spec.num_actions - 1}, got {action}")
        observation, reward, terminated, truncated, info = self._env.step(self._first_action + action)
        self._actions.append(action)
        self._running = not (terminated or truncated)
        return self._encode(observation), float(reward), bool(terminated), bool(truncated), info

    def render(self) -> np.ndarray:
        """`[H, W, 3]` uint8 picture of the present state.

        An environment made for pictures may be much slower to step (Lunar Lander: half the speed), so
        the first call replaces the environment by one, in which it plays the present episode again.

        Raises:
            NotImplementedError: if the environment cannot draw into an array.
        """
        if not self._draws:
            if "rgb_array" not in self._env.metadata.get("render_modes", ()):
                raise NotImplementedError(f"{self._env_id} has no render mode rgb_array")
            # Without a window SDL looks for a desktop all the same, and complains where there is none.
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
            self._env.close()
            self._env = _make_env(self._env_id, **{**self._kwargs, "render_mode": "rgb_array"})
            self._env.reset(seed=self._seed)
            for action in self._actions:
                self._env.step(self._first_action + action)
            self._draws = True
        return np.asarray(self._env.render(), dtype=np.uint8)

    def clone(self) -> Self:
        """Environments hold engines and windows that cannot be copied.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{self._env_id} cannot be copied")

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()


def _make_env(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """`gymnasium.make`, with its errors in one sentence that says what to do."""
    if env_id.startswith("ALE/"):
        import ale_py  # here, since only these need it; importing it is what makes Gymnasium know them

        gymnasium.register_envs(ale_py)
    try:
        # Gymnasium's own checker is left out: `muzero-ray check-game` asks more, and self-play checks every step.
        return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except gymnasium.error.UnregisteredEnv as error:
        names = difflib.get_close_matches(env_id, list(gymnasium.registry), n=3, cutoff=0.7)
        nearest = f"; did you mean {' or '.join(names)}?" if names else "; gymnasium.pprint_registry() lists all"
        raise GameLoadError(f"gymnasium knows no environment {env_id!r}{nearest}") from error
    except gymnasium.error.Error as error:
        raise GameLoadError(f"gymnasium cannot make {env_id!r}: {error}") from error
    except TypeError as error:
        if not kwargs:
            raise
        raise GameLoadError(
            f"gymnasium cannot make {env_id!r} with {', '.join(kwargs)}: {error}; besides what the environment takes "
            f"there are, where it shows an image, {', '.join(ImageOptions.model_fields)}"
        ) from error


@functools.cache
def _shows_image(env_id: str, options: tuple[tuple[str, str], ...]) -> bool:
    """Whether an environment with these options observes an image; not if it cannot be made without others."""
    try:
        env = _make_env(env_id, **{option: _value_of(value) for option, value in options})
    except Exception:  # told once it is made with all
        return False
    try:
        return _path_to_image(env.observation_space) is not None
    finally:
        env.close()


def _value_of(text: str) -> Any:
    """An argument of an environment: a number, true, false or null as JSON writes them, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_image(space: Space[Any]) -> bool:
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)


def _path_to_image(space: Space[Any]) -> tuple[Any, ...] | None:
    """The keys that lead to the one thing that a space consists of, if that is an image."""
    if _is_image(space):
        return ()
    if not isinstance(space, _CONTAINERS) or len(space.spaces) != 1:
        return None
    key, part = _items(space)[0]
    path = _path_to_image(part)
    return None if path is None else (key, *path)


def _holds_image(space: Space[Any]) -> bool:
    return _is_image(space) or (isinstance(space, _CONTAINERS) and any(_holds_image(part) for _, part in _items(space)))


def _is_numbers(space: Space[Any]) -> bool:
    """Whether a space is numbers all the way down, and always as many of them."""
    if isinstance(space, _CONTAINERS):
        return all(_is_numbers(part) for _, part in _items(space))
    return isinstance(space, _NUMBERS)


def _items(space: Any) -> list[tuple[Any, Space[Any]]]:
    return list(space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces))


def _image_encoder(
    env_id: str, space: Any, path: tuple[Any, ...], options: ImageOptions
) -> tuple[_Encoder, tuple[int, int, int]]:
    """How an observation that is an image, or leads to one, becomes a frame `[C, h, w]`, and the frame's shape."""
    for key in path:
        space = space[key]
    first, *middle, last = space.shape if len(space.shape) == 3 else (*space.shape, 1)
    channels_first = last not in _CHANNELS
    height, width, channels = (*middle, last, first) if channels_first else (first, *middle, last)
    if channels not in _CHANNELS:
        raise GameLoadError(
            f"{env_id}: an image must have shape [H, W], [H, W, C] or [C, H, W] with 1, 3 or 4 channels, got "
            f"{space.shape}; write a game file that hands out frames [C, H, W] (copy games/gridworld.py)"
        )
    grey = not options.colour and channels >= 3
    shrink = FrameShrinker((height, width), options.size)

    def encode(observation: Any) -> np.ndarray:
        for key in path:
            observation = observation[key]
        frame = observation.transpose(1, 2, 0) if channels_first else observation.reshape(height, width, channels)
        return shrink(to_grey(frame) if grey else frame)

    return encode, (1 if grey else channels, *shrink.shape)


def _vector_encoder(env_id: str, space: Space[Any]) -> tuple[_Encoder, tuple[int, ...]]:
    """How an observation of this space becomes a new float32 vector, and the vector's shape."""
    if _holds_image(space):
        raise GameLoadError(
            f"{env_id}: observation_space must be an image or vectors, not both, got {space}; "
            "write a game file that hands out one of them (copy games/gridworld.py)"
        )
    if isinstance(space, Box) and len(space.shape) == 1:
        return _clip, space.shape
    if isinstance(space, Discrete):
        # Python's own integers: NumPy's would wrap around in the subtraction below.
        size, start = int(space.n), int(space.start)

        def one_hot(observation: Any) -> np.ndarray:
            vector = np.zeros(size, dtype=np.float32)
            vector[int(observation) - start] = 1.0
            return vector

        return one_hot, (size,)
    if _is_numbers(space):
        return lambda observation: _clip(flatten(space, observation)), (flatdim(space),)
    raise GameLoadError(
        f"{env_id}: observation_space must be an image, or numbers in boxes, dictionaries and tuples, got "
        f"{space}; write a game file that turns its observations into a vector (copy games/gridworld.py)"
    )


def _clip(observation: Any) -> np.ndarray:
    """A new float32 array within +-OBSERVATION_LIMIT; NaN stays, so that it is noticed."""
    # The sum of squares shows at little cost that there is nothing to cut off, as nearly always; NaN fails it.
    if (
        type(observation) is np.ndarray
        and observation.dtype == _FLOAT32
        and np.vdot(observation, observation) < _SURELY_WITHIN
    ):
        return observation.copy()
    clipped: np.ndarray = np.minimum(np.maximum(observation, -OBSERVATION_LIMIT), OBSERVATION_LIMIT)
    return clipped.astype(np.float32, copy=False)


def _action_range(env_id: str, space: Space[Any]) -> tuple[int, int]:
    """The environment's number of our action 0, and A."""
    if isinstance(space, Discrete):
        return int(space.start), int(space.n)
    raise GameLoadError(
        f"{env_id}: action_space must be Discrete, got {space}; "
        "write a game file with a finite list of actions (copy games/gridworld.py)"
    )

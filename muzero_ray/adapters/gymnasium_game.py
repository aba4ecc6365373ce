"""Plays any Gymnasium environment with discrete actions and vector observations as a `Game`.

The environment is taken as it is: its own rewards, its own random start, its own time limit. What it
does not do: images, continuous actions and wrappers of any kind; a game file of your own does those.
"""

import difflib
import os
from collections.abc import Callable
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, Space

from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.game_loader import GameLoadError

# Unbounded observations are cut off here. Float32 reaches 3e38, but a network that adds up squares does not.
OBSERVATION_LIMIT = 1e9
_FLOAT32 = np.dtype(np.float32)
_SURELY_WITHIN = OBSERVATION_LIMIT**2 / 10  # a sum of squares below this leaves no number near the limit


class GymnasiumGame(Game):
    """One Gymnasium environment behind the `Game` interface, for one player.

    Args:
        env_id: as in `gymnasium.make`, e.g. "CartPole-v1".
        **kwargs: further arguments of `gymnasium.make`, e.g. `max_episode_steps=200`.

    Raises:
        GameLoadError: if there is no such environment, if something that it needs is not installed, or if its
            spaces are not supported; the message says what to do.
    """

    spec: GameSpec

    def __init__(self, env_id: str, **kwargs: Any) -> None:
        self._env_id = env_id
        self._kwargs = kwargs
        self._env = _make_env(env_id, **kwargs)
        self._encode, shape = _observation_encoder(env_id, self._env.observation_space)
        self._first_action, num_actions = _action_range(env_id, self._env.action_space)
        self.spec = GameSpec(observation_shape=shape, num_actions=num_actions)
        self._draws = False
        self._running = False
        # Enough to play the present episode again, should a picture of it be wanted.
        self._seed = 0
        self._actions: list[int] = []

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
    try:
        # Gymnasium's own checker is left out: `muzero-ray check-game` asks more, and self-play checks every step.
        return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except gymnasium.error.UnregisteredEnv as error:
        names = difflib.get_close_matches(env_id, list(gymnasium.registry), n=3, cutoff=0.7)
        nearest = f"; did you mean {' or '.join(names)}?" if names else "; gymnasium.pprint_registry() lists all"
        raise GameLoadError(f"gymnasium knows no environment {env_id!r}{nearest}") from error
    except gymnasium.error.Error as error:
        raise GameLoadError(f"gymnasium cannot make {env_id!r}: {error}") from error


def _observation_encoder(env_id: str, space: Space[Any]) -> tuple[Callable[[Any], np.ndarray], tuple[int, ...]]:
    """How an observation of this space becomes a new float32 vector, and the vector's shape."""
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
    raise GameLoadError(
        f"{env_id}: observation_space must be a Box with one axis or Discrete, got {space}; "
        "write a game file that turns its observations into a vector (copy games/tictactoe.py)"
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
        "write a game file with a finite list of actions (copy games/tictactoe.py)"
    )

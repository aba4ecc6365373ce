"""The one interface between the world and this package: `Game`.

A game is one object that is reset and stepped, in the manner of Gymnasium, plus two questions that a
planner must ask: which actions are legal, and whose turn it is. Nothing here knows about search,
networks or Ray, and a game knows nothing of them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class GameSpec:
    """What does not change from one episode of a game to the next."""

    observation_shape: tuple[int, ...]
    """Shape of every observation, without a batch axis."""
    num_actions: int
    """A: actions are the integers 0 to A - 1."""
    num_players: int = 1
    """1 or 2. With 2, the game is zero-sum and the players move in turns; `to_play` tells whose turn it is."""
    observation_dtype: str = "float32"
    """NumPy dtype name of an observation: "float32" for vectors and boards, "uint8" for frames."""
    value_bounds: tuple[float, float] | None = None
    """Smallest and largest value a state can have, when they are known: (-1, 1) in most board games."""


class Game(ABC):
    """A game for one or two players, with a finite number of actions.

    The loop that calls it:

        observation, info = game.reset(seed)
        while True:
            legal = game.legal_actions()          # [A] bool, True = allowed
            player = game.to_play                 # 0 or 1
            action = choose(observation, legal)
            observation, reward, terminated, truncated, info = game.step(action)
            if terminated or truncated:
                break

    The reward is told from the side of the player who just moved. `terminated` means that the game
    is over and nothing more can be won or lost; `truncated` means that somebody stopped the clock:
    the last state still has a value. Both may not be answered by `legal_actions` any more.

    A game file holds exactly one subclass; see `games/tictactoe.py` for one to copy. `muzero-ray
    check-game FILE` plays it at random and explains every violation of this contract.
    """

    spec: GameSpec
    """Set on the class, or on the instance where it depends on the constructor's arguments."""

    @abstractmethod
    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; the same seed and actions must give the same episode.

        Returns the first observation (`spec.observation_shape`, `spec.observation_dtype`) and a
        dictionary of further information, which may be empty.
        """

    @abstractmethod
    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays a legal action: returns observation, reward (of the mover), terminated, truncated, info.

        Raises:
            ValueError: if the action is not legal, or the episode is over.
        """

    def legal_actions(self) -> np.ndarray:
        """`[A]` bool, True for the actions allowed now: all of them unless a game says otherwise."""
        return np.ones(self.spec.num_actions, dtype=bool)

    @property
    def to_play(self) -> int:
        """The player whose turn it is, 0 or 1; always 0 in a game for one.

        With two players it changes with every move, because the search plans in latent states, which do not
        tell whose turn it is. Where a player moves twice, let the other one pass, by an action of its own.
        """
        return 0

    def render(self) -> np.ndarray:
        """`[H, W, 3]` uint8 picture of the present state, for videos. Optional.

        Raises:
            NotImplementedError: if the game draws no pictures; `text()` is used instead.
        """
        raise NotImplementedError(f"{type(self).__name__} draws no pictures")

    def text(self) -> str:
        """The present state for a terminal. Optional: an empty string where there is none."""
        return ""

    def expert_action(self) -> int:
        """A good action of the present state, from a rule or a solver. Optional.

        Raises:
            NotImplementedError: if the game knows no expert.
        """
        raise NotImplementedError(f"{type(self).__name__} knows no expert")

    def action_to_string(self, action: int) -> str:
        """An action in the game's usual notation; its number unless a game says otherwise."""
        return str(action)

    def string_to_action(self, text: str) -> int:
        """The inverse of `action_to_string`.

        Raises:
            ValueError: if the text names no action.
        """
        for action in range(self.spec.num_actions):
            if self.action_to_string(action) == text.strip():
                return action
        raise ValueError(f"{type(self).__name__}: {text!r} names no action")

    def close(self) -> None:  # noqa: B027 - a game that holds nothing has nothing to free
        """Frees what the game holds (windows, emulators). Optional."""

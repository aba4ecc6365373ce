"""The one interface between the world and this package: `Game`.

A game is one object that is reset and stepped, in the manner of Gymnasium, plus two questions that a
planner must ask: which actions are legal, and whose turn it is. Nothing here knows about search,
networks or Ray, and a game knows nothing of them.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from muzero_ray.core.position import GamePosition, Position


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A way to turn or mirror a board after which the game is the same, but for the names of its actions."""

    cells: np.ndarray
    """`[H * W]` int: cell i of a turned plane is cell `cells[i]` of the plane as it was; planes are read row by row."""
    actions: np.ndarray
    """`[A]` int: action a of the game as it was is action `actions[a]` of the turned one."""


@dataclass(frozen=True)
class GameSpec:
    """What does not change from one episode of a game to the next."""

    observation_shape: tuple[int, ...]
    """Shape of every observation, without a batch axis."""
    num_actions: int
    """A: actions are the integers 0 to A - 1."""
    num_players: int = 1
    """1 or 2. With 2, the game is zero-sum; `to_play` tells whose turn it is."""
    observation_dtype: str = "float32"
    """NumPy dtype name of an observation: "float32" for vectors and boards, "uint8" for frames."""
    frame_stack: int = 1
    """Frames `[C, H, W]` only: how many of the newest observations the network sees at once, the newest last. A game
    hands out single frames; whoever asks the network stacks them (`core/frames.py`)."""
    protocol: str = ""
    """One line that says how results are made comparable, where a game can be played in more ways than one (Atari:
    sticky actions, no-op starts, ...). A run prints and records it."""
    value_bounds: tuple[float, float] | None = None
    """Smallest and largest value a state can have, when they are known: (-1, 1) in most board games."""
    alternating: bool = True
    """With 2 players: whether the turn passes with every move. Where it does not (a capture moves again), say False:
    then the network learns whose turn comes next."""
    symmetries: tuple[Symmetry, ...] = field(default=(), compare=False, repr=False)
    """Boards `[C, H, W]` only: what may be turned and mirrored, the identity left out, to learn more from each game."""
    action_planes: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Boards only: `[A, P, H, W]` uint8 pictures of the actions, 0 or 1, as a convolutional network sees them: where
    a stone is put, or from where to where a piece moves. Without them it learns a vector per action."""
    action_cells: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Boards only: `[A]` int32, the cell `(plane * H + row) * W + column` of a stack of planes in which a convolutional
    network says how probable each action is; -1 for actions that have no place on the board, such as a pass. Without
    them the policy is a dense layer, whose size is that of the board times A."""
    turn_cells: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Boards only: `[H * W]` int, where every player sees the board from his own side: cell i of what the next player
    sees is cell `turn_cells[i]` of what the mover saw. A convolutional network turns its latent states likewise, which
    no convolution could learn. Only where turns alternate."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what the network sees of a state: of an observation, or of `frame_stack` of them one
        behind the other along the channels, `[frame_stack * C, H, W]`."""
        if self.frame_stack == 1:
            return self.observation_shape
        return (self.frame_stack * self.observation_shape[0], *self.observation_shape[1:])


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

    A game file holds exactly one subclass; copy `games/gridworld.py` for one player, `games/tictactoe.py` for two.
    `muzero-ray check-game FILE` plays it at random and explains every violation of this contract.
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

        With two players it changes with every move, unless the spec says that the game is not `alternating`.
        """
        return 0

    def evaluated(self) -> "Game":
        """The game as its results are reported: itself, unless training uses aids, such as clipped rewards.

        Evaluation asks for it before the first `reset`, and does not use this object any more. Observations and actions
        are those of this one's spec.
        """
        return self

    def clone(self) -> Self:
        """A game in the same state that goes on independently, for opponents that look ahead.

        Raises:
            NotImplementedError: if the game cannot be copied.
        """
        return copy.deepcopy(self)

    def position(self) -> Position:
        """The present state for those who look far ahead; by default a clone. A game whose engine is quicker without
        observations hands out the engine's own state.

        Raises:
            NotImplementedError: if the game cannot be copied.
        """
        return GamePosition(self.clone())

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

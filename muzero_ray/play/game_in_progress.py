"""One game while it is played by somebody outside: its moves are remembered and can be taken back."""

from collections.abc import Callable

from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.game import Game


class GameInProgress:
    """A game that stands at its start until moves are played.

    Args:
        make_game: makes the game.
        seed: it is reset with.

    Attributes:
        game: as its results are reported, in the present state; not to be stepped from outside.
        observation: of the present state.
        history: the actions so far.
        movers: who played each of them, 0 or 1.
        over: whether the game has ended.
        returns: sum of the rewards of player 0 and, its negative, of player 1.

    Raises:
        GameError: from any method, if the game breaks its contract.
    """

    def __init__(self, make_game: Callable[[], Game], seed: int = 0) -> None:
        self.game = CheckedGame(make_game().evaluated())
        self._seed = seed
        self.restart()

    def restart(self) -> None:
        """Goes back to the start."""
        self.observation, _ = self.game.reset(self._seed)
        self.history: list[int] = []
        self.movers: list[int] = []
        self.over = False
        self.returns = (0.0, 0.0)

    def play(self, action: int) -> None:
        """Plays an action.

        Raises:
            ValueError: if the game is over or the action not legal.
        """
        if self.over:
            raise ValueError("the game is over")
        if not self.game.legal_actions()[action]:
            raise ValueError(f"{self.game.action_to_string(action)} is not legal now")
        mover = self.game.to_play
        self.observation, reward, terminated, truncated, _ = self.game.step(action)
        self.history.append(action)
        self.movers.append(mover)
        self.over = bool(terminated or truncated)
        first = self.returns[0] + (reward if mover == 0 else -reward)
        self.returns = (first, 0.0 - first)  # subtracted from zero, a draw is 0.0 for both

    def go_back_to(self, length: int) -> None:
        """Takes back all actions but the first `length`, by playing those again.

        Raises:
            ValueError: if there are not so many.
        """
        if not 0 <= length <= len(self.history):
            raise ValueError(f"there are {len(self.history)} moves, not {length}")
        if length == len(self.history):
            return
        kept = self.history[:length]
        self.restart()
        for action in kept:
            self.play(action)

"""Looking ahead in OpenSpiel's own states, without the observations that a `Game` makes at every step."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Self

from muzero_ray.core.position import Position


class OpenSpielPosition(Position):
    """A state of OpenSpiel, with our numbers of actions and players.

    Args:
        state: nobody else's.
        first_player: OpenSpiel's number of our player 0, who begins.
        moves_left: after so many moves the game is stopped; None: never.
        own_actions: our numbers of OpenSpiel's actions, given those and our player to move: a game may turn the
            board for one of them, and the moves with it.
        engine_action: OpenSpiel's number of one of our actions, given that and our player to move.
        rewards_on_the_way: whether there are rewards before the end.
    """

    def __init__(
        self,
        state: Any,
        *,
        first_player: int,
        moves_left: int | None,
        own_actions: Callable[[list[int], int], list[int]],
        engine_action: Callable[[int, int], int],
        rewards_on_the_way: bool,
    ) -> None:
        self._state = state
        self._first_player = first_player
        self._moves_left = -1 if moves_left is None else moves_left  # -1 never comes down to 0
        self._own_actions = own_actions
        self._engine_action = engine_action
        self._rewards_on_the_way = rewards_on_the_way

    @property
    def to_play(self) -> int:
        """See `Position`."""
        player: int = self._state.current_player() ^ self._first_player
        return player

    @property
    def over(self) -> bool:
        """See `Position`."""
        return self._moves_left == 0 or self._state.is_terminal()

    def legal(self) -> Sequence[int]:
        """See `Position`."""
        return self._own_actions(self._state.legal_actions(), self.to_play)

    def play(self, action: int) -> float:
        """See `Position`."""
        state = self._state
        mover = state.current_player()
        state.apply_action(self._engine_action(action, mover ^ self._first_player))
        self._moves_left -= 1
        if self._rewards_on_the_way or state.is_terminal():
            return float(state.player_reward(mover))
        return 0.0

    def copy(self) -> Self:
        """See `Position`."""
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._state = self._state.clone()
        return copied

    def playout(self, rng: random.Random) -> float:
        """See `Position`; the same, with nothing in the loop but OpenSpiel's own calls."""
        if self._rewards_on_the_way or self.over:
            return super().playout(rng)
        state, draw = self._state, rng.random
        while self._moves_left != 0 and not state.is_terminal():
            actions = state.legal_actions()
            state.apply_action(actions[int(draw() * len(actions))])
            self._moves_left -= 1
        return float(state.player_return(self._first_player)) if state.is_terminal() else 0.0

"""Puts pieces of games that have overtaken each other back into order."""

from muzero_ray.core.types import Trajectory


class PieceOrder:
    """What one sender delivers, in the order in which it was played.

    Several deliveries of a sender may be under way at once, and a later one may come first. A piece whose predecessor
    has not come is held until that has, or until so many more deliveries have come that the predecessor must have
    been lost. What came twice is passed on, for the buffer to leave out.

    Args:
        patience: deliveries for which a piece is held; 0 where none can overtake another.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._deliveries = 0
        self._next_steps: dict[int, int] = {}  # of each game that runs: where its next piece begins
        # By game and first step: the number of the delivery it came with, and the piece.
        self._held: dict[int, dict[int, tuple[int, Trajectory]]] = {}

    def put(self, delivery: list[Trajectory]) -> list[Trajectory]:
        """Takes a delivery; returns what is due now, in order: of it, and of what was held."""
        self._deliveries += 1
        due: list[Trajectory] = []
        for piece in delivery:
            if piece.first_step > self._next_steps.get(piece.game_id, 0):
                self._held.setdefault(piece.game_id, {})[piece.first_step] = (self._deliveries, piece)
            else:
                self._pass(piece, due)
        for game_id in list(self._held):
            self._give_up_waiting(game_id, due)
        return due

    def _pass(self, piece: Trajectory, due: list[Trajectory]) -> None:
        """Passes a piece on, and those that were held for want of it."""
        due.append(piece)
        if piece.terminated or piece.truncated:
            self._next_steps.pop(piece.game_id, None)
            return
        end = max(piece.first_step + piece.num_steps, self._next_steps.get(piece.game_id, 0))
        self._next_steps[piece.game_id] = end
        if end in self._held.get(piece.game_id, ()):
            self._pass(self._take(piece.game_id, end), due)

    def _give_up_waiting(self, game_id: int, due: list[Trajectory]) -> None:
        """Passes on what has been held for long enough, and what was played before that."""
        overdue = [
            step for step, (since, _) in self._held[game_id].items() if self._deliveries - since >= self._patience
        ]
        while overdue and game_id in self._held and min(self._held[game_id]) <= max(overdue):
            self._pass(self._take(game_id, min(self._held[game_id])), due)

    def _take(self, game_id: int, first_step: int) -> Trajectory:
        """Holds a piece no longer."""
        _, piece = self._held[game_id].pop(first_step)
        if not self._held[game_id]:
            del self._held[game_id]
        return piece

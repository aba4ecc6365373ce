"""Boards of OpenSpiel as a convolutional network should see them: mine and the other's, and what lay there before.

`BoardGame` keeps the last positions; `StoneGame` is for games in which a move puts a stone on a point.
"""

from dataclasses import replace

import numpy as np

from muzero_ray.adapters.board_planes import GO_LETTERS, draw_board, point_cells, point_planes
from muzero_ray.adapters.open_spiel_game import OpenSpielGame
from muzero_ray.core.game import GameSpec, Symmetry


class BoardGame(OpenSpielGame):
    """A game for two on a board, seen from the side of the player to move.

    An observation is `[history * 2 * P + E, H, W]`: for the present position and each one before it, P planes of
    what the player to move has on the board and P planes of what the other has, then E planes of whatever else
    the rules depend on. Positions before the first are empty.

    A subclass says what the pieces are (`_pieces`) and the rest (`_marks`).

    Args:
        name: as for `OpenSpielGame`, as are `max_moves` and `start`.
        pieces: P.
        marks: E.
        size: (H, W).
        history: positions that an observation shows, the present one included.
        dtype: of the observation: "uint8", where 255 stands for 1 and memory is a quarter, or "float32".
    """

    turned_axes: tuple[int, ...] = ()
    """Axes of the board (-2 rows, -1 columns) along which player 1 sees it turned round, so that both play up."""

    def __init__(
        self,
        name: str,
        *,
        pieces: int,
        marks: int,
        size: tuple[int, int],
        history: int = 1,
        dtype: str = "uint8",
        max_moves: int | None = None,
        start: str | None = None,
    ) -> None:
        self._one = 255 if dtype == "uint8" else 1
        self._no_history = np.zeros((history, 2, pieces, *size), dtype=dtype)
        self._shown = history * 2 * pieces
        self._planes = (self._shown + marks, *size)
        forwards, backwards = slice(None), slice(None, None, -1)
        turned = [backwards if axis in self.turned_axes else forwards for axis in (-2, -1)]
        cells = np.arange(size[0] * size[1]).reshape(size)[tuple(turned)].ravel()
        self._turn_cells = cells if self.turned_axes else None
        self._as_seen_by = ((...,), (forwards, backwards, forwards, *turned))
        super().__init__(name, max_moves=max_moves, start=start)

    def _make_spec(self, alternating: bool) -> GameSpec:
        return GameSpec(
            observation_shape=self._planes,
            observation_dtype=self._no_history.dtype.name,
            num_actions=self._num_actions,
            num_players=2,
            value_bounds=self._value_bounds(),
            alternating=alternating,
            turn_cells=self._turn_cells,
        )

    def _set_up(self) -> None:
        super()._set_up()
        self._history = self._no_history

    def _observation(self) -> np.ndarray:
        tensor = self._tensor(0)
        # A new array every time, never written to, so that clones may share it.
        history = np.empty_like(self._no_history)
        history[0] = self._pieces(tensor) * self._one
        history[1:] = self._history[:-1]
        self._history = history
        observation = np.empty(self._planes, dtype=history.dtype)
        observation[: self._shown].reshape(history.shape)[:] = history[self._as_seen_by[self._to_play]]
        observation[self._shown :] = self._marks(tensor, self._to_play) * self._one
        return observation

    def _pieces(self, tensor: np.ndarray) -> np.ndarray:
        """`[2, P, H, W]` of 0 and 1: player 0's pieces and player 1's, from OpenSpiel's observation for player 0."""
        raise NotImplementedError

    def _marks(self, tensor: np.ndarray, player: int) -> np.ndarray:
        """`[E, H, W]`, or `[E, 1, 1]`, from 0 to 1: what the other planes hold when `player` is to move."""
        raise NotImplementedError


class StoneGame(BoardGame):
    """A game in which action a puts a stone on point a, row by row; one more action, if there is one, is a pass.

    Args:
        name: as for `OpenSpielGame`.
        size: (H, W).
        stones: planes of OpenSpiel's observation for player 0 that hold the stones of player 0 and of player 1.
        history: as for `BoardGame`, as is `dtype`.
        marks: `[2, E, H, W]` of 0 and 1: constant planes, for each player to move; none: one plane that is 1 where
            player 0 is to move.
        symmetries: for the spec.
    """

    letters = GO_LETTERS
    """Names of the columns."""
    first_row_on_top = False
    """Whether row 1 is drawn at the top."""

    def __init__(
        self,
        name: str,
        *,
        size: tuple[int, int],
        stones: tuple[int, int] = (0, 1),
        history: int = 1,
        dtype: str = "uint8",
        marks: np.ndarray | None = None,
        symmetries: tuple[Symmetry, ...] = (),
    ) -> None:
        if marks is None:
            marks = np.stack([np.ones((1, *size)), np.zeros((1, *size))])
        self._stones = list(stones)
        self._size = size
        super().__init__(name, pieces=1, marks=marks.shape[1], size=size, history=history, dtype=dtype)
        self._constant = marks
        passes = self._num_actions - size[0] * size[1]
        self.spec = replace(
            self.spec,
            symmetries=symmetries,
            action_planes=point_planes(*size, passes),
            action_cells=point_cells(size[0] * size[1], passes),
        )

    def _pieces(self, tensor: np.ndarray) -> np.ndarray:
        stones: np.ndarray = tensor.reshape(-1, 1, *self._size)[self._stones]
        return stones

    def _marks(self, tensor: np.ndarray, player: int) -> np.ndarray:
        marks: np.ndarray = self._constant[player]
        return marks

    def text(self) -> str:
        """The board: X for the player who began, O for the other."""
        return draw_board(self._rows(), self.letters, first_row_on_top=self.first_row_on_top)

    def string_to_action(self, text: str) -> int:
        """A legal point such as D4, or "pass"; small and capital letters are the same. See `Game.string_to_action`."""
        text = text.strip()
        return super().string_to_action(text.lower() if text.lower() == "pass" else self._in_our_case(text))

    def _notation(self, action: int) -> str:
        row, column = divmod(action, self._size[1])
        return "pass" if row == self._size[0] else f"{self.letters[column]}{row + 1}"

    def _in_our_case(self, text: str) -> str:
        return text.upper() if self.letters.isupper() else text.lower()

    def _rows(self) -> list[str]:
        """The board, row number 1 first, as ".", "X" and "O"."""
        mine, other = self._history[0, :, 0] > 0
        return ["".join(row) for row in np.where(mine, "X", np.where(other, "O", "."))]

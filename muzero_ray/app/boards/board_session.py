"""A person at the board, in a terminal: draws it, reads moves and wishes, and has the agent answer.

Every game for two can be played. Nothing is told to the agent but the moves.
"""

import difflib
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from muzero_ray.app.errors import did_you_mean
from muzero_ray.play.game_in_progress import GameInProgress
from muzero_ray.play.notation import legal_moves, read_action
from muzero_ray.play.thinking import MAX_SIMULATIONS, Thinker

Side = Literal["first", "second", "random"]
HINTS = 5
NEAREST = 5


class BoardSession:
    """One person and one agent, game after game.

    Args:
        position: the game.
        thinker: the agent.
        console: to write to.
        ask: shows a prompt and returns what the person typed, as `input` does.
        side: of the person.
        rng: draws sides.
    """

    def __init__(
        self,
        position: GameInProgress,
        thinker: Thinker,
        console: Console,
        *,
        ask: Callable[[str], str] = input,
        side: Side = "first",
        rng: np.random.Generator | None = None,
    ) -> None:
        self._position = position
        self._thinker = thinker
        self._console = console
        self._ask = ask
        self._side: Side = side
        self._rng = np.random.default_rng() if rng is None else rng
        self._person = 0  # player 0 or 1
        self._resigned = False
        self._left = False
        self._wishes: dict[str, tuple[str, Callable[[str], None]]] = {
            "moves": ("list the legal moves", self._list_moves),
            "board": ("draw the board again", lambda _: self._draw()),
            "undo": ("take back your last move and the answer to it", self._undo),
            "hint": ("what the agent would play in your place", self._hint),
            "strength": ("strength N: the agent thinks N simulations per move", self._change_strength),
            "side": ("side first, second or random: a new game with that side", self._change_side),
            "new": ("a new game", lambda _: self._start()),
            "resign": ("give the game up", self._resign),
            "help": ("this list", self._help),
            "quit": ("leave; so do Ctrl-D and Ctrl-C", self._leave),
        }

    def run(self) -> None:
        """Plays until the person leaves."""
        try:
            self._start()
            while not self._left:
                prompt = "new, undo or quit? " if self._is_over() else "your move: "
                self._answer(self._ask(prompt).strip())
        except (EOFError, KeyboardInterrupt):
            self._tell()
        self._tell("Goodbye.")

    def _answer(self, text: str) -> None:
        """Does what the person typed."""
        word, _, rest = text.partition(" ")
        if word.lower() in self._wishes:
            self._wishes[word.lower()][1](rest.strip())
        elif text and self._is_over():
            self._tell("The game is over: new starts another, undo takes back.")
        elif text:
            self._move(text)

    def _move(self, text: str) -> None:
        game = self._position.game
        try:
            action = read_action(game, text)
        except ValueError as error:
            near = difflib.get_close_matches(text, legal_moves(game), n=NEAREST, cutoff=0.0)
            self._tell(f"{error}{did_you_mean(text, list(self._wishes))}")
            self._tell(f"Nearest legal moves: {', '.join(near)}. All are listed by: moves. Other words: help.")
            return
        self._position.play(action)
        self._let_agent_move()

    def _let_agent_move(self) -> None:
        """Lets the agent move while it is its turn, and draws what came of it."""
        game = self._position.game
        while not self._position.over and game.to_play != self._person:
            with self._console.status("thinking"):
                thought = self._thinker.think(self._position)
            move = game.action_to_string(thought.action)
            self._position.play(thought.action)
            self._tell(f"The agent plays {move} and expects {thought.value:+.2f} for itself.")
        self._draw()

    def _draw(self) -> None:
        self._tell()
        self._tell(self._position.game.text() or f"(no picture of this game; moves so far: {self._moves_so_far()})")
        self._tell()
        if self._resigned:
            self._tell("You resigned.")
        elif self._position.over:
            outcome = self._position.returns[self._person]
            self._tell("You win!" if outcome > 0 else "The agent wins." if outcome < 0 else "A draw.")

    def _moves_so_far(self) -> str:
        return " ".join(map(str, self._position.history)) or "none"

    def _start(self) -> None:
        """Begins a new game."""
        self._position.restart()
        self._resigned = False
        self._person = int(self._rng.integers(2)) if self._side == "random" else int(self._side == "second")
        example = legal_moves(self._position.game)[0]
        self._tell(
            f"You play {'second' if self._person else 'first'}; the agent thinks {self._thinker.num_simulations} "
            f"simulations per move. A move is written like {example}; help lists other words."
        )
        self._let_agent_move()

    def _is_over(self) -> bool:
        return self._position.over or self._resigned

    def _list_moves(self, rest: str) -> None:
        if self._is_over():
            self._tell("There are none: the game is over.")
        else:
            self._tell(" ".join(legal_moves(self._position.game)))

    def _undo(self, rest: str) -> None:
        mine = [index for index, mover in enumerate(self._position.movers) if mover == self._person]
        if self._resigned:
            self._resigned = False
        elif mine:
            self._position.go_back_to(mine[-1])
        else:
            self._tell("There is no move of yours to take back.")
            return
        self._draw()

    def _hint(self, rest: str) -> None:
        if self._is_over():
            self._tell("The game is over.")
            return
        position = self._position
        with self._console.status("thinking"):
            thought = self._thinker.think(position)
        table = Table("move", "policy", "visits", box=None, pad_edge=False)
        for action in thought.best_actions(HINTS):
            shares = (f"{share:.1%}" for share in (thought.policy[action], thought.visit_shares[action]))
            table.add_row(position.game.action_to_string(action), *shares)
        self._console.print(table)
        low, high = position.game.spec.value_bounds or (None, None)
        scale = "" if low is None else f", where {low:g} is lost and {high:g} is won"
        self._tell(f"The agent would expect {thought.value:+.2f} in your place{scale}.")

    def _change_strength(self, rest: str) -> None:
        if rest.isdecimal() and 1 <= int(rest) <= MAX_SIMULATIONS:
            self._thinker.num_simulations = int(rest)
        elif rest:
            self._tell(f"strength: wanted a number of simulations from 1 to {MAX_SIMULATIONS}, got {rest!r}.")
            return
        self._tell(f"The agent thinks {self._thinker.num_simulations} simulations per move.")

    def _change_side(self, rest: str) -> None:
        for side in get_args(Side):
            if rest.lower() == side:
                self._side = side
                self._start()
                return
        self._tell(f"side: wanted first, second or random, got {rest!r}.")

    def _resign(self, rest: str) -> None:
        if self._is_over():
            self._tell("The game is over.")
        else:
            self._resigned = True
            self._tell("You resigned.")

    def _help(self, rest: str) -> None:
        table = Table("word", "meaning", box=None, pad_edge=False, show_header=False)
        for word, (meaning, _) in self._wishes.items():
            table.add_row(word, meaning)
        self._console.print(table)
        self._tell("Anything else is a move.")

    def _leave(self, rest: str) -> None:
        self._left = True

    def _tell(self, text: str = "") -> None:
        """Writes text as it is: brackets in it are no markup, and long lines are broken between words."""
        self._console.print(text, markup=False, emoji=False)

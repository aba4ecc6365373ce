"""Those whom an agent can be measured against in a game for two: by name, for any game.

    random              any legal move
    oneply              wins at once if it can, else does not let the other do so, else random
    alphabeta:DEPTH     looks DEPTH moves ahead; sees nothing but rewards
    uct:ROLLOUTS        Monte-Carlo tree search with so many random games per move
    expert              the game's own expert
    perfect             never errs; small games, and connect four
    gtp:, uci:, usi:    an engine outside of this program, see `engines`

None of them assumes that players move by turns. Agents, which search in batches, are `fixtures.AgentPlayer`.
"""

import difflib
import random
from collections.abc import Sequence

import numpy as np

from muzero_ray.core.game import Game
from muzero_ray.core.position import Position
from muzero_ray.play import tree_opponents
from muzero_ray.play.opponent import Opponent, UnknownOpponentError

KNOWN = ("random", "oneply", "alphabeta:DEPTH", "uct:ROLLOUTS", "expert", "perfect", "gtp:...", "uci:...", "usi:...")
_ENGINES = ("gtp", "uci", "usi")
_WITH_NUMBER = {"alphabeta": "DEPTH", "uct": "ROLLOUTS"}


class RandomOpponent(Opponent):
    """Any legal action, all with the same probability."""

    name = "random"

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """See `Opponent`."""
        return int(rng.choice(np.flatnonzero(game.legal_actions())))


class ExpertOpponent(Opponent):
    """The game's own expert; the same action in the same state."""

    name = "expert"

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """See `Opponent`."""
        return game.expert_action()


class OnePlyOpponent(Opponent):
    """Takes a win, else gives the other none at once if it can, else plays at random."""

    name = "oneply"

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """See `Opponent`."""
        position = game.position()
        mover = position.to_play
        wins, safe = [], []
        for action in position.legal():
            after = position.copy()
            reward = after.play(action)
            if after.over:
                if reward > 0:
                    wins.append(action)
                elif reward == 0:
                    safe.append(action)
            elif after.to_play == mover or not _can_win(after):
                safe.append(action)
        return int(rng.choice(wins or safe or position.legal()))


class AlphaBetaOpponent(Opponent):
    """Looks a number of moves ahead; see `tree_opponents.alpha_beta`. Equally good moves are drawn from."""

    def __init__(self, depth: int) -> None:
        self.name = f"alphabeta:{depth}"
        self._depth = depth

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """See `Opponent`."""
        return int(rng.choice(tree_opponents.alpha_beta(game.position(), self._depth)))


class UctOpponent(Opponent):
    """Monte-Carlo tree search; see `tree_opponents.uct`."""

    def __init__(self, rollouts: int) -> None:
        self.name = f"uct:{rollouts}"
        self._rollouts = rollouts

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        """See `Opponent`."""
        bounds = game.spec.value_bounds
        # Python's generator draws single numbers ten times faster than NumPy's.
        source = random.Random(int(rng.integers(2**63)))
        return tree_opponents.uct(game.position(), self._rollouts, source, scale=bounds[1] if bounds else 1.0)


def make_opponent(name: str, game: Game) -> Opponent:
    """The opponent of this name.

    Args:
        name: as the top of this module lists them.
        game: one that it is to play, for two; it is left as it is.

    Raises:
        UnknownOpponentError: if there is none of this name, or not in this game.
        OpponentError: if an engine cannot be started.
    """
    if game.spec.num_players != 2:
        raise UnknownOpponentError(f"opponent {name!r} needs a game for 2 players, got one for {game.spec.num_players}")
    kind, colon, rest = name.partition(":")
    if kind in _ENGINES and colon:
        from muzero_ray.play.engines import make_engine

        return make_engine(name, game)
    if kind in _WITH_NUMBER:
        number = _number(name, kind, rest)
        return AlphaBetaOpponent(number) if kind == "alphabeta" else UctOpponent(number)
    if name == "random":
        return RandomOpponent()
    if name == "oneply":
        return OnePlyOpponent()
    if name == "expert":
        return _expert(game)
    if name == "perfect":
        # Here, since it compiles a solver.
        from muzero_ray.play.perfect_play import make_perfect

        return make_perfect(game)
    kinds = [known.partition(":")[0] for known in KNOWN]
    near = difflib.get_close_matches(kind, kinds, n=1, cutoff=0.5)
    guess = f"did you mean {KNOWN[kinds.index(near[0])]}? Choose" if near else "choose"
    raise UnknownOpponentError(f"no opponent {name!r}; {guess} one of {', '.join(KNOWN)}")


def _number(name: str, kind: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        what = _WITH_NUMBER[kind]
        example = f"{kind}:{4 if kind == 'alphabeta' else 1000}"
        raise UnknownOpponentError(
            f"opponent {name!r}: wanted {kind}:{what} with a number from 1 on, such as {example}"
        )
    return int(text)


def _expert(game: Game) -> Opponent:
    started = game.clone()
    started.reset(0)
    try:
        started.expert_action()
    except NotImplementedError as error:
        raise UnknownOpponentError(f"opponent 'expert': {error}; choose another, such as uct:1000") from error
    return ExpertOpponent()


def _can_win(position: Position) -> bool:
    """Whether the player to move can end the game with a reward."""
    for action in position.legal():
        after = position.copy()
        if after.play(action) > 0 and after.over:
            return True
    return False

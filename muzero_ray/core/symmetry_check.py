"""What a spec says of its board, compared with the game: `game_check` asks here.

Shapes and numbers are looked at without playing. Symmetries are tried out: an episode is played again beside its
turned copies, one for each symmetry, and all must go alike.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from muzero_ray.core.checked_game import CheckedGame, Complaint, GameError
from muzero_ray.core.game import Game, GameSpec, Symmetry

_OTHER_SEEDS = 20  # what is the same with all of them is no chance
_REL_TOL, _ABS_TOL = 1e-4, 1e-6  # sums in another order


def board_problems(spec: GameSpec) -> Iterator[str]:
    """Wherein symmetries, pictures and places do not fit the board or the actions: "field must ..., got ...".

    What `spec` says of observations, actions and players must be right.
    """
    shape, actions = spec.observation_shape, spec.num_actions
    said = [name for name in ("action_planes", "action_cells", "turn_cells") if getattr(spec, name) is not None]
    if not isinstance(spec.symmetries, tuple | list):
        yield f"symmetries must be a tuple of Symmetry, got {type(spec.symmetries).__name__}"
        return
    if len(shape) != 3:
        for name in ["symmetries"] * bool(spec.symmetries) + said:
            yield f"{name} must be left out where observations are not boards [C, H, W], got observation_shape {shape}"
        return
    cells = shape[1] * shape[2]
    of_cells, of_actions = "cells H * W, row by row", "actions A"
    for number, symmetry in enumerate(spec.symmetries):
        if not isinstance(symmetry, Symmetry):
            yield f"symmetries must be a tuple of Symmetry, got {type(symmetry).__name__} in it"
            return
        wrong = [
            *_unless_permutation(f"symmetries[{number}].cells", symmetry.cells, cells, of_cells),
            *_unless_permutation(f"symmetries[{number}].actions", symmetry.actions, actions, of_actions),
        ]
        if wrong:
            yield from wrong
            break  # the others are most likely wrong in the same way
    if spec.action_planes is not None:
        yield from _picture_problems(spec.action_planes, actions, shape)
    if spec.action_cells is not None:
        yield from _place_problems(spec.action_cells, actions, cells)
    if spec.turn_cells is not None:
        wrong = list(_unless_permutation("turn_cells", spec.turn_cells, cells, of_cells))
        if not wrong and (spec.turn_cells[spec.turn_cells] != np.arange(cells)).any():
            wrong.append("turn_cells must lead back where they are used twice, got another board")
        if spec.num_players != 2 or not spec.alternating:
            got = f"num_players {spec.num_players}, alternating {spec.alternating}"
            wrong.append(f"turn_cells must be left out unless two players move by turns, got {got}")
        yield from wrong


def _unless_permutation(field: str, numbers: object, length: int, of: str) -> Iterator[str]:
    if got := _form_unlike_integers(numbers, (length,)):
        yield f"{field} must hold each of the numbers 0 to {length - 1} once ({of}), got {got}"
    elif missing := sorted(set(range(length)) - set(np.asarray(numbers).tolist())):
        yield f"{field} must hold each of the numbers 0 to {length - 1} once ({of}), got no {missing[0]}"


def _form_unlike_integers(numbers: object, shape: tuple[int, ...]) -> str:
    """What came instead of an array of integers of this shape; empty where one came."""
    if not isinstance(numbers, np.ndarray):
        return type(numbers).__name__
    if numbers.shape != shape:
        return f"shape {numbers.shape}"
    return "" if numbers.dtype.kind in "iu" else f"dtype {numbers.dtype}"


def _picture_problems(pictures: object, actions: int, shape: tuple[int, ...]) -> Iterator[str]:
    if not isinstance(pictures, np.ndarray):
        yield f"action_planes must be a NumPy array, got {type(pictures).__name__}"
    elif pictures.ndim != 4 or (len(pictures), *pictures.shape[2:]) != (actions, *shape[1:]):
        yield f"action_planes must have shape [{actions}, P, {shape[1]}, {shape[2]}], got shape {pictures.shape}"
    elif pictures.dtype != np.uint8:
        yield f"action_planes must have dtype uint8, got {pictures.dtype}"
    elif pictures.max(initial=0) > 1:
        yield f"action_planes must hold 0 and 1 only, got {pictures.max()}"


def _place_problems(places: object, actions: int, cells: int) -> Iterator[str]:
    most = actions * cells - 1
    if got := _form_unlike_integers(places, (actions,)):
        yield f"action_cells must be integers of shape ({actions},), got {got}"
    elif wrong := [place for place in np.asarray(places).tolist() if not -1 <= place <= most]:
        yield f"action_cells must lie from -1 to {most} (A planes of H * W cells are enough), got {wrong[0]}"


def shared_labels(spec: GameSpec) -> dict[str, np.ndarray]:
    """By field, `[A]` int: equal for actions that have the same place, or picture, and -1 for those that need none.

    Only the fields in which any two actions are alike.
    """
    labels = {}
    if spec.action_cells is not None:
        labels["action_cells"] = spec.action_cells
    if spec.action_planes is not None:
        first: dict[bytes, int] = {}
        pictures = (picture.tobytes() for picture in spec.action_planes)
        labels["action_planes"] = np.array([first.setdefault(p, action) for action, p in enumerate(pictures)])
    return {field: label for field, label in labels.items() if len(np.unique(label[label >= 0])) < (label >= 0).sum()}


def unlike_labels_error(
    labels: dict[str, np.ndarray], name: str, seed: int, legal: Sequence[np.ndarray]
) -> GameError | None:
    """The first state of an episode in which a network could not tell two legal actions apart, if any.

    Args:
        labels: as `shared_labels` gives them.
        name: of the game.
        seed: of the episode.
        legal: `[A]` bool each, before every move.
    """
    for field, label in labels.items():
        for time, allowed in enumerate(legal):
            seen: dict[int, int] = {}
            for action in np.flatnonzero(allowed & (label >= 0)).tolist():
                other = seen.setdefault(int(label[action]), action)
                if other != action:
                    error = GameError(
                        f"{name}.spec: {field} must differ among the legal actions of a state, got the same for "
                        f"actions {other} and {action} after {time} moves (seed {seed}); "
                        f"give each its own, or leave {field} out"
                    )
                    error.key = ("spec", field)
                    return error
    return None


@dataclass(frozen=True)
class _Moment:
    """What a game shows after a move, or after its reset."""

    observation: np.ndarray
    legal: np.ndarray | None  # None after the end, as is the player
    player: int | None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False

    def digest(self) -> tuple[object, ...]:
        """Equal for equal moments."""
        legal = None if self.legal is None else self.legal.tobytes()
        rest = (self.player, self.reward, self.terminated, self.truncated)
        return (self.observation.tobytes(), legal, *rest)


def symmetry_error(make_game: Callable[[], Game], name: str, seed: int, actions: Sequence[int]) -> GameError | None:
    """The first way in which a turned game goes otherwise than the game itself, if any.

    Only what follows from the rules can be asked. Nothing is where the start, turned, is not the start: no actions
    lead from there to the turned positions. Nor where it depends on the seed how either game goes, since chance does
    not turn with the board.

    Args:
        make_game: makes one more game; one without problems but for its symmetries.
        name: of the game in the message.
        seed: of an episode.
        actions: of that episode, to its end.
    """
    game = CheckedGame(make_game(), name=name)
    symmetries = game.spec.symmetries
    twins = [CheckedGame(make_game(), name=name) for _ in symmetries]
    try:
        shown, turned = _begin(game, seed), [_begin(twin, seed) for twin in twins]
        starts = [_turned(symmetry, shown.observation) for symmetry in symmetries]
        compared = [k for k, start in enumerate(starts) if _is_same(start, turned[k].observation)]
        for time in range(len(actions) + 1):
            for k in compared:
                if difference := _difference(symmetries[k], shown, turned[k]):
                    played = list(actions[:time])
                    if not all(_is_fixed(make_game, seed, each) for each in (played, _named(symmetries[k], played))):
                        return None
                    error = game.error("spec", _complaint(k, symmetries[k], played, difference))
                    error.key = ("spec", "symmetries")  # most likely all are wrong in the same way
                    return error
            if time == len(actions):
                break
            action = actions[time]
            shown = _play(game, action)
            for k in compared:
                turned[k] = _play(twins[k], int(symmetries[k].actions[action]))
    finally:
        for each in (game, *twins):
            each.close()
    return None


def _complaint(number: int, symmetry: Symmetry, played: list[int], difference: str) -> Complaint:
    here = f" (here {played[-1]} as {symmetry.actions[played[-1]]})" if played else ""
    return Complaint(
        f"symmetries[{number}]",
        "turn the game into itself",
        difference,
        "cell i of the turned board is cell cells[i] as it was, and action a is played there as "
        f"actions[a]{here}: mend cells or actions, or leave this symmetry out",
    )


def _begin(game: CheckedGame, seed: int) -> _Moment:
    observation, _ = game.reset(seed)
    return _Moment(observation, game.legal_actions(), game.to_play)


def _play(game: CheckedGame, action: int) -> _Moment:
    observation, reward, terminated, truncated, _ = game.step(action)
    over = terminated or truncated
    legal, player = (None, None) if over else (game.legal_actions(), game.to_play)
    return _Moment(observation, legal, player, reward, bool(terminated), bool(truncated))


def _named(symmetry: Symmetry, actions: list[int]) -> list[int]:
    """The actions of an episode as they are called on the turned board."""
    named: list[int] = symmetry.actions[actions].tolist() if actions else []
    return named


def _turned(symmetry: Symmetry, observation: np.ndarray) -> np.ndarray:
    """`[C, H, W]`, as `replay.augment` turns it."""
    return observation.reshape(len(observation), -1)[:, symmetry.cells].reshape(observation.shape)


def _is_same(wanted: np.ndarray, got: np.ndarray) -> bool:
    return np.array_equal(wanted, got) or bool(np.isclose(got, wanted, rtol=_REL_TOL, atol=_ABS_TOL).all())


def _difference(symmetry: Symmetry, shown: _Moment, turned: _Moment) -> str:
    """What a turned game shows that it should not, from what the game itself shows; empty if all is well."""
    wanted, got = _turned(symmetry, shown.observation), turned.observation
    if not _is_same(wanted, got):
        first = tuple(np.argwhere(~np.isclose(got, wanted, rtol=_REL_TOL, atol=_ABS_TOL))[0].tolist())
        return f"an observation with {got[first]} instead of {wanted[first]} at index {list(first)}"
    for field in ("terminated", "truncated", "player"):
        if getattr(shown, field) != getattr(turned, field):
            return f"{field} {getattr(turned, field)} instead of {getattr(shown, field)}"
    if not math.isclose(shown.reward, turned.reward, rel_tol=_REL_TOL, abs_tol=_ABS_TOL):
        return f"reward {turned.reward:g} instead of {shown.reward:g}"
    if shown.legal is not None and turned.legal is not None:
        unlike = np.flatnonzero(turned.legal[symmetry.actions] != shown.legal)
        if len(unlike):
            answers = ("legal", "illegal") if shown.legal[unlike[0]] else ("illegal", "legal")
            return (
                f"action {symmetry.actions[unlike[0]]} {answers[1]}, but action {unlike[0]} of the game as it was "
                f"{answers[0]}"
            )
    return ""


def _is_fixed(make_game: Callable[[], Game], seed: int, actions: list[int]) -> bool:
    """Whether these actions lead to the same whatever the seed."""
    game = CheckedGame(make_game())
    try:
        played = []
        for other in range(seed, seed + 1 + _OTHER_SEEDS):
            moments = [_begin(game, other), *(_play(game, action) for action in actions)]
            played.append([moment.digest() for moment in moments])
            if played[-1] != played[0]:
                return False
    except GameError:  # an action that is not legal with that seed
        return False
    finally:
        game.close()
    return True

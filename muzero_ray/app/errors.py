"""The one kind of error that is the user's to mend: told in a sentence, without a traceback."""

from collections.abc import Sequence
from difflib import get_close_matches

from muzero_ray.core.limits import MachineLimit


class UserError(Exception):
    """A mistake in a command, a configuration, a game or a file.

    The message says what was wanted, what came and what to do; the command line prints it and exits with 2.
    """


def did_you_mean(wrong: str, known: Sequence[str]) -> str:
    """The name most like a misspelt one, as the end of a sentence; empty if none is like it.

    >>> did_you_mean("cartpol", ["cartpole", "lunarlander"])
    '; did you mean cartpole?'
    """
    near = get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def sentence_of(error: BaseException) -> str | None:
    """What is wrong with a user's game, see `game_in_words`, or too much for the machine; None if it is neither."""
    if isinstance(error, MachineLimit):
        return str(error)
    return game_in_words(error) if isinstance(error, Exception) else None


def game_in_words(error: Exception) -> str | None:
    """What is wrong with a user's game, in its one sentence; None if the error is something else.

    Where the game's own code raised, its traceback follows, from the game's file on.
    """
    from muzero_ray.core.checked_game import GameError, game_traceback  # here, so that --help needs no NumPy
    from muzero_ray.core.game_loader import GameLoadError, raised_in_game

    if isinstance(error, GameError):
        trace = error.game_traceback
    elif isinstance(error, GameLoadError):
        cause = error.__cause__
        trace = game_traceback(cause) if cause is not None and raised_in_game(cause) else ""
    else:
        return None
    return f"{error}\n\n{trace}" if trace else str(error)


class RunFailed(Exception):
    """The end of a run by an actor's exception or death. `__cause__` holds Ray's own error.

    Args:
        role: name of the actor, "self_play_0".
        method: what it was asked to do.
        cause: what it raised, or how it died.
        gone: whether it can be asked for nothing any more. One that raised an exception still can.
    """

    def __init__(self, role: str, method: str, cause: BaseException, *, gone: bool = True) -> None:
        super().__init__(f"{role} failed in {method}: {type(cause).__name__}: {str(cause).strip()}")
        self.role = role
        self.method = method
        self.cause = cause
        self.gone = gone


def cause_in_a_line(error: Exception) -> str:
    """Where there is a traceback, its last line says what it was."""
    lines = cause_in_words(error).splitlines()
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def cause_in_words(error: Exception) -> str:
    """The cause as its own author would tell it: with a traceback if it is our bug or a game's."""
    if isinstance(error, RunFailed):
        if told := sentence_of(error.cause):
            return f"{error.role}: {told}"
    elif told := sentence_of(error):
        return told
    if isinstance(error, RunFailed) and error.__cause__ is not None:
        return f"{error}\n\n{error.__cause__}"
    if isinstance(error, RunFailed):
        return str(error)
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()

"""The names by which actors find each other, and by which the dashboard shows them.

Actors look each other up by name rather than being handed to each other, so that one that is started
again after a crash finds what it needs. Names are unique within a run: each has a Ray namespace of its own.
"""

STORAGE = "shared_storage"
BUFFER = "replay_buffer"
TRAINER = "trainer"
REANALYZE = "reanalyze"
EVALUATOR = "evaluator"
STATE_HOLDERS = (STORAGE, BUFFER, TRAINER)
"""Those whose states make a snapshot."""


def self_play(index: int) -> str:
    """The name of self-play actor number `index`."""
    return f"self_play_{index}"


def trainer_rank(rank: int) -> str:
    """The name of a further rank of the trainer, from 1 on, in logs; nobody looks it up."""
    return f"{TRAINER}_{rank}"


def replay_shard(number: int) -> str:
    """The name of a shard of the replay buffer, in logs; nobody looks it up."""
    return f"replay_shard_{number}"


def role_of(name: str) -> str:
    """What an actor does: its name without the number that it has where there are several.

    >>> role_of("self_play_12"), role_of("trainer")
    ('self_play', 'trainer')
    """
    return name.rstrip("0123456789").rstrip("_")

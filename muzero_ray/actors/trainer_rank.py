"""Further trainers of the same network: rank 0 is the trainer actor itself, the others are actors of its own.

Every rank learns from batches of its own, which rank 0 asks for and passes on by reference, and all take the same
step (`nn/parallel.py`). They live and die with the trainer: where one is lost, the trainer's process ends, Ray ends
those that it owns, and starts it anew, which makes new ones.
"""

import logging
import os
import socket
from contextlib import closing
from typing import Any, NoReturn

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from muzero_ray.actors import names
from muzero_ray.actors.by_reference import Drawn, received_parts
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.core.config import Config
from muzero_ray.core.game import GameSpec

logger = logging.getLogger(__name__)

_CAUSE_SECONDS = 10.0
"""How long it may take a rank that failed to say why."""


class TrainerRank:
    """A learner that takes its steps together with that of the trainer.

    Args:
        config: of the run.
        spec: the game's.
        device: of the learner.
        threads: CPU threads for it.
        rank: 1 or more.
        address: host:port where rank 0 listens.
        logs: where to log.
    """

    def __init__(
        self, config: Config, spec: GameSpec, device: str, threads: int, rank: int, address: str, logs: Logs | None
    ) -> None:
        start_logging(names.trainer_rank(rank), logs)
        from muzero_ray.nn.learner import Learner, use_threads
        from muzero_ray.nn.parallel import join

        use_threads(threads)
        self._rank = rank
        self._ranks = join(rank, config.train.num_gpus, address, device)
        self._learner = Learner(config, spec, seed=config.seed, device=device, ranks=self._ranks)
        self._prioritized = config.replay.prioritized
        self._buffer: Any = None

    def start(self, state: bytes | None) -> None:
        """Continues from the state that rank 0 continues from."""
        self._buffer = ray.get_actor(names.BUFFER)
        if state is not None:
            self._learner.load_bytes(state)
        logger.info("starts at training step %d", self._learner.training_steps)

    def update(self, drawn: Drawn) -> None:
        """Takes a step with each batch that was drawn, together with all other ranks."""
        from muzero_ray.nn.learner import NonFiniteLoss

        told = []
        try:
            for staged in [self._learner.stage(batch) for batch in received_parts(drawn)]:
                result = self._learner.update(staged)
                if self._prioritized:
                    told.append(self._buffer.update_priorities.remote(staged.batch.indices, result.priorities))
        except NonFiniteLoss:
            raise  # the same on all ranks
        except Exception:
            self._ranks.leave()  # so that the others do not wait for this one
            raise
        ray.get(told)

    def __repr__(self) -> str:
        return f"TrainerRank({self._rank})"


class OtherRanks:
    """Ranks 1 and up, as the trainer sees them; creates their actors and joins them.

    Args:
        config: of the run; `train.num_gpus` says how many ranks there are, more than one.
        spec: the game's.
        device: of every learner: "cuda" for a GPU each, "cpu" for none.
        threads: CPU threads for each.
        logs: where they log.

    Attributes:
        ranks: what rank 0's learner works with.
    """

    def __init__(self, config: Config, spec: GameSpec, device: str, threads: int, logs: Logs | None) -> None:
        from muzero_ray.nn.parallel import join

        address = f"{ray.util.get_node_ip_address()}:{_free_port()}"  # type: ignore[no-untyped-call]
        actor = ray.remote(TrainerRank).options(num_cpus=0, num_gpus=1 if device == "cuda" else 0, max_restarts=0)
        self._actors: list[Any] = [
            actor.remote(config, spec, device, threads, rank, address, logs) for rank in range(1, config.train.num_gpus)
        ]
        self._open: list[ray.ObjectRef[Any]] = []
        self.ranks = join(0, config.train.num_gpus, address, device)

    def start(self, state: bytes | None) -> None:
        """Has all of them continue from a state; ends this process if one of them is lost."""
        shared = ray.put(state)
        try:
            ray.get([actor.start.remote(shared) for actor in self._actors])
        except (RayActorError, OutOfMemoryError) as error:
            _end_process(error)

    def update(self, batches: list[ray.ObjectRef[Any]]) -> None:
        """Has each of them take steps with its batches; returns at once."""
        done, self._open = ray.wait(self._open, num_returns=len(self._open), timeout=0) if self._open else ([], [])
        ray.get(done)
        self._open += [actor.update.remote(mine) for actor, mine in zip(self._actors, batches, strict=True)]

    def give_up(self, loss: Exception) -> NoReturn:
        """Ends after a rank was lost: with what it failed of, if it says so, else with this process.

        Raises:
            RayTaskError: what a rank that lives failed of.
        """
        done, _ = ray.wait(self._open, num_returns=len(self._open), timeout=_CAUSE_SECONDS) if self._open else ([], [])
        for ref in done:
            try:
                ray.get(ref)
            except RayTaskError as error:
                if not isinstance(error.cause, type(loss)):  # which says only that yet another was lost
                    raise
            except RayError:
                continue  # its process is gone, and cannot say
        _end_process(loss)


def _end_process(loss: Exception) -> NoReturn:
    logger.error("%s; the trainer starts anew, with new ranks", loss)
    os._exit(1)  # not an exception: that would end the run


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])

"""The self-play actor: plays many games at once and hands over what was played."""

import logging
import time
from dataclasses import replace
from typing import Any

import ray

from muzero_ray.actors import build, names
from muzero_ray.actors.gpu_check import slower_on_gpu
from muzero_ray.actors.logs import Logs, start_logging
from muzero_ray.actors.shared_storage import WeightsReader, register
from muzero_ray.core.config import Config
from muzero_ray.core.types import SelfPlayReport, Trajectory, Weights

logger = logging.getLogger(__name__)


class SelfPlay:
    """Self-play number `index`. Each call of `play` is one stretch of moves of all its games.

    Trajectories are returned, not put: the caller owns them, and they outlive this actor.
    """

    def __init__(self, config: Config, index: int, logs: Logs | None = None) -> None:
        start_logging(names.self_play(index), logs)
        storage: Any = ray.get_actor(names.STORAGE)
        self._name = f"SelfPlay({index}, {config.game})"
        self._moves = config.self_play.segment_moves
        restart = register(storage, names.self_play(index))
        self._process = restart + 1
        self._config = config
        self._notes: list[str] = []
        self._player = build.make_self_player(config, index, restart, self._notes.append)
        self._weights = WeightsReader(storage)
        self._is_checked = config.self_play.num_gpus == 0
        logger.info("plays %s, started before: %d times", config.game, restart)

    @ray.method(num_returns=2)
    def play(self, given: tuple[int, Weights] | None = None) -> tuple[list[Trajectory], SelfPlayReport | None]:
        """Plays a stretch with the newest weights; nothing and None while no weights are published.

        Args:
            given: version and weights to play with instead, in lockstep.
        """
        began = time.perf_counter()
        if given is None:
            weights = self._weights.read()
            version = self._weights.version
        else:
            version, weights = given
        if weights is not None:
            self._player.set_weights(weights, version)
            self._check_gpu(weights)
        elif self._weights.version < 0:
            time.sleep(0.05)  # the trainer is still starting; the head asks again
            return [], None
        waited = time.perf_counter() - began
        trajectories, report = self._player.play(self._moves)
        told = "played %d env steps in %d pieces with weights %d"
        logger.debug(told, report.env_steps, len(trajectories), report.weights_version)
        notes, self._notes[:] = tuple(self._notes), []
        seconds = {**report.seconds, "weights": waited}
        return trajectories, replace(report, seconds=seconds, notes=notes, process=self._process)

    def _check_gpu(self, weights: Weights) -> None:
        if not self._is_checked:
            self._is_checked = True
            if note := slower_on_gpu(self._config, weights):
                self._notes.append(note)

    def __repr__(self) -> str:
        return self._name

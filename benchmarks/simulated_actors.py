"""Stand-ins for self-play and trainer that send what the real ones send, and neither act nor learn."""

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray

from muzero_ray.actors.by_reference import received_batches
from muzero_ray.core.config import Config
from muzero_ray.core.game import Game
from muzero_ray.core.types import SelfPlayReport, Trajectory, Weights

PIECES_PER_GAME = 20
"""Deliveries after which a simulated game ends."""
_VERSIONS_KEPT = 8
_BATCHES_PER_REQUEST = 4  # as the trainer asks for


def record(game: Game, moves: int, count: int, rng: np.random.Generator) -> list[Trajectory]:
    """Plays at random: so many pieces of `moves` moves each, none of which ends its game."""
    pieces: list[Trajectory] = []
    observations: list[np.ndarray] = []
    while len(pieces) < count:
        if not observations:
            observations = [game.reset(int(rng.integers(2**31)))[0]]
        actions, rewards, legal, to_play = list[int](), list[float](), list[np.ndarray](), [game.to_play]
        while len(actions) < moves:
            legal.append(game.legal_actions())
            actions.append(int(rng.choice(np.flatnonzero(legal[-1]))))
            observation, reward, terminated, truncated, _ = game.step(actions[-1])
            observations.append(observation)
            rewards.append(reward)
            to_play.append(game.to_play)
            if terminated or truncated:
                observations = []
                break
        else:
            pieces.append(_piece(observations, actions, rewards, legal, to_play, rng))
            observations = observations[-1:]
    return pieces


def _piece(
    observations: list[np.ndarray],
    actions: list[int],
    rewards: list[float],
    legal: list[np.ndarray],
    to_play: list[int],
    rng: np.random.Generator,
) -> Trajectory:
    allowed = np.stack(legal)
    policies = (rng.random(allowed.shape) * allowed).astype(np.float32)
    return Trajectory(
        observations=np.stack(observations),
        actions=np.array(actions, np.int32),
        rewards=np.array(rewards, np.float32),
        to_play=np.array(to_play, np.int8),
        legal_actions=allowed,
        search_policies=policies / policies.sum(axis=1, keepdims=True),
        root_values=rng.normal(size=len(actions)).astype(np.float32),
        terminated=False,
        truncated=False,
        final_value=0.0,
        weights_version=0,
        seed=0,
        game_id=0,
        first_step=0,
    )


class SimulatedGames:
    """The games of one actor: recorded pieces, handed out as those of ever new games.

    Args:
        index: of the actor.
        games: that it plays at once.
        pieces: recorded ones.
    """

    def __init__(self, index: int, games: int, pieces: list[Trajectory]) -> None:
        self._first_game = index << 32
        self._games = games
        self._pieces = pieces
        self._played = 0
        self.version = -1
        self.turn = asyncio.Lock()

    def delivery(self) -> list[Trajectory]:
        """The next piece of every game."""
        game, number = divmod(self._played, PIECES_PER_GAME)
        self._played += 1
        found = []
        for row in range(self._games):
            piece = self._pieces[(self._played + row) % len(self._pieces)]
            found.append(
                replace(
                    piece,
                    game_id=self._first_game + game * self._games + row,
                    first_step=number * piece.num_steps,
                    truncated=number == PIECES_PER_GAME - 1,
                    weights_version=self.version,
                )
            )
        return found


class SimulatedPlayers:
    """A process with many simulated self-play actors; each has one stretch played at a time.

    Args:
        config: of the run.
        pieces: recorded ones.
        storage: handle of the `SharedStorage` actor.
        seconds: that a stretch takes to be played.
    """

    def __init__(self, config: Config, pieces: list[Trajectory], storage: Any, seconds: float) -> None:
        self._games = config.self_play.games_per_actor
        self._moves = config.self_play.segment_moves
        self._pieces = pieces
        self._storage = storage
        self._seconds = seconds
        self._players: dict[int, SimulatedGames] = {}
        # Of the newest versions. Many actors of one process fetch the same object, as real ones never do, and where the
        # last reference is dropped while an answer brings the next one, Ray may lose the object or never bring it.
        self._references: dict[int, Any] = {}

    @ray.method(num_returns=2)
    async def play(self, index: int) -> tuple[list[Trajectory], SelfPlayReport | None]:
        """A stretch of actor number `index`, as `SelfPlay.play`."""
        player = self._players.setdefault(index, SimulatedGames(index, self._games, self._pieces))
        async with player.turn:
            answer = await self._storage.newest.remote(player.version, False)
            if answer is not None:
                player.version, reference = answer
                self._keep(player.version, reference)
                await reference
            elif player.version < 0:
                await asyncio.sleep(0.05)
                return [], None
            if self._seconds:
                await asyncio.sleep(self._seconds)
            return player.delivery(), SelfPlayReport(self._games * self._moves, 0, player.version)

    def _keep(self, version: int, reference: Any) -> None:
        self._references.setdefault(version, reference)
        while len(self._references) > _VERSIONS_KEPT:
            del self._references[min(self._references)]


@dataclass(frozen=True)
class Trained:
    """What the stand-in did in a stretch."""

    batches: int
    wait_seconds: float
    fetch_seconds: tuple[float, ...]  # of each answer, with several batches


class StandInTrainer:
    """Asks for batches and publishes as `actors.trainer.Trainer` does."""

    def __init__(self, config: Config, buffer: Any, storage: Any, weights: Weights) -> None:
        self._config = config
        self._buffer = buffer
        self._storage = storage
        self._weights = weights
        self._rng = np.random.default_rng(0)
        self._steps = 0
        self._pending: list[ray.ObjectRef[Any]] = []
        self._told: list[ray.ObjectRef[Any]] = []
        self._publish()

    def train(self, seconds: float) -> Trained:
        """Takes batches for about so many seconds."""
        began, before, waited, fetched = time.perf_counter(), self._steps, 0.0, list[float]()
        while (elapsed := time.perf_counter() - began) < seconds:
            while len(self._pending) < self._config.system.prefetch:
                self._pending.append(self._buffer.sample.remote(_BATCHES_PER_REQUEST, self._steps, 1))
            started = time.perf_counter()
            ready, _ = ray.wait(self._pending[:1], timeout=seconds - elapsed)
            waited += time.perf_counter() - started
            if not ready:
                break
            started = time.perf_counter()
            batches = received_batches(ray.get(self._pending.pop(0)))
            fetched.append(time.perf_counter() - started)
            for batch in batches:
                self._learn(batch.indices)
        told, self._told = self._told, []
        ray.get(told)
        return Trained(self._steps - before, waited, tuple(fetched))

    def _learn(self, indices: np.ndarray) -> None:
        self._steps += 1
        if self._config.replay.prioritized:
            errors = np.abs(self._rng.normal(size=len(indices)))
            self._told.append(self._buffer.update_priorities.remote(indices, errors))
        if self._steps % self._config.train.publish_interval == 0:
            self._publish()

    def _publish(self) -> None:
        self._told.append(self._storage.publish.remote(self._steps, self._weights, self._weights))
        if self._config.reanalyze.fresh_values:
            self._told.append(self._buffer.set_weights.remote(self._weights))

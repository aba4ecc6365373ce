"""Measures the greedy agent: no noise, no temperature, given seeds; the same weights give the same result.

It only plays and counts. Means, intervals and curves are made where results are reported.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.frames import FrameStacks
from muzero_ray.core.game import Game
from muzero_ray.core.types import Episode
from muzero_ray.mcts.model import SearchModel
from muzero_ray.mcts.planner import Planner

Choose = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Observations `[B, ...]` and legal actions `[B, A]` to actions `[B]`."""


def evaluate(
    make_game: Callable[[], Game],
    planner: Planner,
    model: SearchModel,
    seeds: Sequence[int],
    *,
    num_simulations: int | None = None,
    max_games: int = 32,
) -> list[Episode]:
    """Plays one game per seed greedily and returns them in the order of the seeds.

    In a game for two the agent plays both sides; `match` has it play others.

    Args:
        make_game: makes one more game.
        planner: the search.
        model: the network that it plans with.
        seeds: of the games.
        num_simulations: per move; None: as the planner is configured.
        max_games: games at once. Results may differ in the last bits of a float with another number.

    Raises:
        GameError: if the game breaks its contract.
    """
    choose = greedy(planner, model, num_simulations)
    return _play_all(choose, [_Table(make_game) for _ in range(min(max_games, len(seeds)))], seeds)


class Frames(Sequence[np.ndarray]):
    """Pictures, `[H, W, 3]` uint8 each, held compressed: a thousand of Lunar Lander are 700 MB otherwise."""

    def __init__(self) -> None:
        self._packed: list[tuple[tuple[int, ...], bytes]] = []

    def append(self, frame: np.ndarray) -> None:
        """Adds a copy of a picture."""
        self._packed.append((frame.shape, zlib.compress(frame.astype(np.uint8).tobytes(), level=1)))

    @property
    def nbytes(self) -> int:
        """Bytes of what is held."""
        return sum(len(packed) for _, packed in self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        shape, packed = self._packed[index]
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)


@dataclass(frozen=True)
class Recording:
    """One episode to look at."""

    frames: Sequence[np.ndarray]  # [H, W, 3] uint8, the start included; empty if the game draws no pictures
    texts: list[str]  # likewise, as text; empty strings if the game writes none
    actions: list[str]  # in the game's notation, one fewer
    episode: Episode


def record_episode(
    make_game: Callable[[], Game],
    planner: Planner,
    model: SearchModel,
    seed: int,
    *,
    num_simulations: int | None = None,
) -> Recording:
    """Plays one greedy episode and keeps what it looks like; for the arguments see `evaluate`."""
    choose = greedy(planner, model, num_simulations)
    table = _Table(make_game)
    table.start(0, seed)
    frames, texts, actions = Frames(), [], []

    def look() -> None:
        if (frame := _picture(table.game)) is not None:
            frames.append(frame)
        texts.append(table.game.text())

    look()
    while not table.over:
        action = int(choose(table.observation[None], table.game.legal_actions()[None])[0])
        actions.append(table.game.action_to_string(action))
        table.play(action)
        look()
    table.game.close()
    return Recording(frames, texts, actions, table.episode())


class _Table:
    """A place where one game after another is played."""

    def __init__(self, make_game: Callable[[], Game]) -> None:
        self.game = CheckedGame(make_game().evaluated())
        self._stacks = FrameStacks(self.game.spec, 1)

    def start(self, index: int, seed: int) -> None:
        """Starts game number `index`."""
        self.index = index
        self.over = False
        self._seed = seed
        self._length = 0
        self._return = 0.0  # of player 0
        self._truncated = False
        self._stacks.start(0, self.game.reset(seed)[0])

    @property
    def observation(self) -> np.ndarray:
        """What the network sees of the present state; it changes with the next action."""
        seen: np.ndarray = self._stacks.stacked[0]
        return seen

    def play(self, action: int) -> None:
        """Plays an action."""
        mover = self.game.to_play
        observation, reward, terminated, truncated, _ = self.game.step(action)
        self._stacks.push(0, observation)
        self.over = bool(terminated or truncated)
        self._truncated = self.over and not terminated
        self._return += reward if mover == 0 else -reward
        self._length += 1

    def episode(self) -> Episode:
        """The outcome of a game that is over."""
        returns = (self._return,) if self.game.spec.num_players == 1 else (self._return, 0.0 - self._return)
        return Episode(returns, self._length, self._seed, self._truncated)


def _play_all(choose: Choose, tables: list[_Table], seeds: Sequence[int]) -> list[Episode]:
    """Plays one game per seed; a table whose game is over takes the next."""
    episodes: dict[int, Episode] = {}
    waiting = list(enumerate(seeds))[::-1]
    size = len(tables)
    free = list(tables)
    running: list[_Table] = []
    while waiting or running:
        while waiting and free:
            table = free.pop()
            table.start(*waiting.pop())
            running.append(table)
        # Halving the batch as games run out, and filling it up with copies, leaves few batch sizes in all:
        # planner and model keep memory for each.
        while len(running) <= size // 2:
            size //= 2
        rows = running + running[:1] * (size - len(running))
        actions = choose(
            np.stack([table.observation for table in rows]), np.stack([table.game.legal_actions() for table in rows])
        )
        for table, action in zip(running, actions.tolist(), strict=False):
            table.play(action)
            if table.over:
                episodes[table.index] = table.episode()
                free.append(table)
        running = [table for table in running if not table.over]
    for table in tables:
        table.game.close()
    return [episodes[index] for index in range(len(seeds))]


def greedy(planner: Planner, model: SearchModel, num_simulations: int | None) -> Choose:
    """The agent's choice of moves: without noise, without temperature; for the arguments see `evaluate`."""
    rng = np.random.default_rng(0)  # a planner asks for one; without noise and temperature it decides nothing

    def choose(observations: np.ndarray, legal_actions: np.ndarray) -> np.ndarray:
        result = planner(
            model,
            observations,
            legal_actions,
            num_simulations=num_simulations,
            noise_scale=0.0,
            temperature=0.0,
            rng=rng,
        )
        return result.actions

    return choose


def _picture(game: Game) -> np.ndarray | None:
    try:
        return game.render()
    except NotImplementedError:
        return None

"""Plays many games at once, with one batched search per move for all of them, and hands over what happened.

Every row of the batch is one game; when it ends, the next begins in the same row, so that no row idles.
Nothing here knows which network, search engine or process it runs in.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from muzero_ray.core.checked_game import CheckedGame
from muzero_ray.core.frames import FrameStacks
from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.rng import training_seeds
from muzero_ray.core.types import Episode, SelfPlayReport, Trajectory, Weights
from muzero_ray.mcts.planner import Planner
from muzero_ray.play.acting_model import ActingModel
from muzero_ray.play.resignation import ResignationCounts, Resignations


class SelfPlayer:
    """Plays `num_games` games side by side, for as long as it is asked to.

    The loop that calls it:

        player.set_weights(weights, version)
        trajectories, report = player.play(num_moves)
        for trajectory in trajectories:
            buffer.add(trajectory)

    Args:
        make_game: makes one more game.
        planner: the search.
        model: the network that it plans with.
        num_games: G, games at once.
        noise_scale: exploration noise of the first and the last row, the others evenly between; rows of little
            noise show what the policy leads to, rows of much noise what else there is.
        noise_moves: moves for which a row keeps its Gumbel noise, on average; 1 for a search without.
        temperature: of the action choice, likewise.
        temperature_moves: moves of a game after which the temperature is 0; None: never.
        sampled_moves: opening moves of a game that are drawn from the search policy.
        random_opening_moves: a game begins after 0 to so many random moves, which are not recorded: lengths and move
            numbers count from there.
        resign_value: for two players; a game is given up where the search's value is below minus this; None: never.
        resign_exempt: in [0, 1]; share of the games that are played on all the same.
        seed: source of all randomness, the games' seeds included. Two players given equal ones play the same.
        game_id_start: id of the first game; the next ones count on from there.

    Raises:
        GameError: from the constructor and from `play`, if a game breaks its contract.
    """

    def __init__(
        self,
        make_game: Callable[[], Game],
        planner: Planner,
        model: ActingModel,
        *,
        num_games: int,
        noise_scale: tuple[float, float] = (0.0, 1.0),
        noise_moves: float = 1.0,
        temperature: tuple[float, float] = (1.0, 1.0),
        temperature_moves: int | None = None,
        sampled_moves: int = 0,
        random_opening_moves: int = 0,
        resign_value: float | None = None,
        resign_exempt: float = 0.1,
        seed: np.random.SeedSequence,
        game_id_start: int = 0,
    ) -> None:
        self._planner = planner
        self._model = model
        self._noise_scale = _ladder(*noise_scale, num_games)
        self._renewal = 1.0 / noise_moves
        self._temperature = _ladder(*temperature, num_games)
        self._temperature_moves = temperature_moves
        self._sampled_moves = sampled_moves
        self._random_opening_moves = random_opening_moves
        self._rng = np.random.default_rng(seed)
        self._next_game_id = game_id_start
        self._weights_version = -1

        self._games = [CheckedGame(make_game()) for _ in range(num_games)]
        self._spec = self._games[0].spec
        self._resignations: Resignations | None = None
        if resign_value is not None:
            if self._spec.num_players != 2 or self._spec.value_bounds is None:
                raise ValueError("resign_value: needs a game for 2 players that states its value_bounds; use None")
            self._resignations = Resignations(resign_value, resign_exempt, num_games, self._rng)
            self._win = self._spec.value_bounds[1]
        self._noise: np.ndarray | None = None
        # The running games, one per row: the state to be searched next ...
        self._stacks = FrameStacks(self._spec, num_games)
        self._legal_actions = np.empty((num_games, self._spec.num_actions), dtype=bool)
        self._to_play = np.zeros(num_games, dtype=np.int8)
        # ... and what is remembered of each since its start.
        self._seeds = np.zeros(num_games, dtype=np.int64)
        self._game_ids = np.zeros(num_games, dtype=np.int64)
        self._lengths = np.zeros(num_games, dtype=np.int64)
        self._returns = np.zeros(num_games)  # of player 0; the game is zero-sum, so player 1's is the negative
        for row in range(num_games):
            self._start_game(row)

    def set_weights(self, weights: Weights, version: int) -> None:
        """Plays with these weights from now on; `version` is noted on what is played."""
        self._model.set_weights(weights)
        self._weights_version = version

    def play(self, num_moves: int) -> tuple[list[Trajectory], SelfPlayReport]:
        """Plays `num_moves` moves of every game.

        Returns:
            Everything that was played, each transition once, and what it took. A game that ended gives a piece
            that says how; a game that goes on gives a piece up to now, and its next transitions come with
            the next call. Pieces of one game come in order.

        Raises:
            RuntimeError: if no weights have been set.
            GameError: if a game breaks its contract.
        """
        if self._weights_version < 0:
            raise RuntimeError("self-play has no weights yet; call set_weights before play")
        segment = _Segment.empty(len(self._games), num_moves, self._spec)
        pieces: list[Trajectory] = []
        last_states: dict[int, np.ndarray] = {}  # as the network sees them, of pieces whose last value is to be asked
        episodes: list[Episode] = []
        simulations = 0
        searching = 0.0
        began = time.perf_counter()
        for move in range(num_moves):
            before = time.perf_counter()
            result = self._planner(
                self._model,
                self._stacks.stacked,
                self._legal_actions,
                noise_scale=self._noise_scale,
                temperature=self._move_temperature(),
                rng=self._rng,
                gumbel=self._move_noise(),
            )
            searching += time.perf_counter() - before
            simulations += int(result.visit_counts.sum())
            actions = self._with_sampled_openings(result.actions, result.search_policies)
            segment.observations[:, move] = self._stacks.newest
            segment.actions[:, move] = actions
            segment.to_play[:, move] = self._to_play
            segment.legal_actions[:, move] = self._legal_actions
            segment.search_policies[:, move] = result.search_policies
            segment.root_values[:, move] = result.root_values
            giving_up = self._giving_up(result.root_values)
            for row, terminated in self._step_games(actions, segment.rewards[:, move], giving_up):
                resigned = bool(giving_up[row]) and not terminated
                if not terminated and not resigned:
                    last_states[len(pieces)] = self._stacks.stacked[row].copy()
                final_value = self._resign(row, segment.to_play[row, move]) if resigned else 0.0
                piece = self._take_piece(segment, row, move + 1, terminated=terminated, truncated=not terminated)
                pieces.append(replace(piece, final_value=final_value, resigned=resigned))
                episodes.append(self._episode(row, truncated=not terminated and not resigned))
                if self._resignations is not None:
                    self._resignations.end(row, float(self._returns[row]), resigned)
                self._start_game(row)
        for row in range(len(self._games)):
            if segment.taken[row] < num_moves:
                pieces.append(self._take_piece(segment, row, num_moves, terminated=False, truncated=False))
        before = time.perf_counter()
        self._add_final_values(pieces, last_states)
        searching += time.perf_counter() - before
        counts = ResignationCounts() if self._resignations is None else self._resignations.take_counts()
        return pieces, SelfPlayReport(
            env_steps=num_moves * len(self._games),
            simulations=simulations,
            weights_version=self._weights_version,
            seconds={"search": searching, "games": time.perf_counter() - began - searching},
            episodes=tuple(episodes),
            resigned=counts.resigned,
            resignations_tested=counts.played_on,
            resignations_false=counts.false,
        )

    def _start_game(self, row: int) -> None:
        game = self._games[row]
        seed, observation = self._open(game)
        self._stacks.start(row, observation)
        if self._resignations is not None:
            self._resignations.start(row)
        self._legal_actions[row] = game.legal_actions()
        self._to_play[row] = game.to_play
        self._seeds[row] = seed
        self._game_ids[row] = self._next_game_id
        self._lengths[row] = 0
        self._returns[row] = 0.0
        self._next_game_id += 1

    def _open(self, game: CheckedGame) -> tuple[int, np.ndarray]:
        """Resets a game and plays its random opening; returns its seed and the observation to start from."""
        while True:
            seed = int(training_seeds(self._rng, 1)[0])
            observation, _ = game.reset(seed)
            count = int(self._rng.integers(self._random_opening_moves + 1)) if self._random_opening_moves else 0
            over = False
            for _ in range(count):
                action = int(self._rng.choice(np.flatnonzero(game.legal_actions())))
                observation, _, terminated, truncated, _ = game.step(action)
                over = terminated or truncated
                if over:
                    break
            if not over:
                return seed, observation

    def _giving_up(self, root_values: np.ndarray) -> np.ndarray:
        """`[G]` bool: the games that end with the coming move, because the player who makes it gives up."""
        if self._resignations is None:
            return np.zeros(len(self._games), bool)
        return self._resignations.ask(root_values, self._to_play)

    def _resign(self, row: int, loser: int) -> float:
        """Counts a game that was given up; returns the value of its last state for the player to move there."""
        self._returns[row] += -self._win if loser == 0 else self._win
        return self._win if self._to_play[row] != loser else -self._win

    def _move_temperature(self) -> np.ndarray:
        """`[G]` temperature of the coming move."""
        if self._temperature_moves is None:
            return self._temperature
        return np.where(self._lengths < self._temperature_moves, self._temperature, np.float32(0.0))

    def _move_noise(self) -> np.ndarray | None:
        """`[G, A]` Gumbel noise of the coming move; None: the search draws it.

        A row keeps its noise for a geometrically distributed number of moves, and to the end of its game at most. So
        every move is a sample of its search policy as ever, but a row follows one whim for a while. Where it takes
        many like moves in a row to get anywhere, independent ones never do: of 30 moves with two actions as good as
        each other, all are the same once in 500 million times.

        Source: after Dabney, Ostrovski, Barreto, "Temporally-extended epsilon-greedy exploration", ICLR 2021, who
        repeat an action; here it is the noise that stays, so that a state in which it does not matter overrules it.
        """
        if self._renewal == 1.0:
            return None
        fresh = self._rng.gumbel(size=self._legal_actions.shape)
        if self._noise is None:
            self._noise = fresh
        renewed = (self._lengths == 0) | (self._rng.random(len(self._games)) < self._renewal)
        self._noise = np.where(renewed[:, np.newaxis], fresh, self._noise)
        return self._noise

    def _with_sampled_openings(self, actions: np.ndarray, policies: np.ndarray) -> np.ndarray:
        """`[G]` the search's actions; in games still in their opening, drawn from the search policy instead."""
        opening = self._lengths < self._sampled_moves
        return np.where(opening, sample_actions(policies, self._rng), actions) if opening.any() else actions

    def _step_games(self, actions: np.ndarray, rewards: np.ndarray, giving_up: np.ndarray) -> list[tuple[int, bool]]:
        """Plays one action in every game and writes the rewards to `rewards`, `[G]`.

        Returns:
            The rows whose game ended, or was given up, with True if it was terminated and False if it was cut off.
        """
        ended = []
        push = self._stacks.push
        sign = 1.0 - 2.0 * self._to_play  # a reward is the mover's; player 1's gain is player 0's loss
        for row, (game, action) in enumerate(zip(self._games, actions.tolist(), strict=True)):
            observation, rewards[row], terminated, truncated, _ = game.step(action)
            push(row, observation)
            if game.names_player:
                self._to_play[row] = game.to_play
            if terminated or truncated or giving_up[row]:
                # A time limit that runs out in the move that ends the game stopped nothing.
                ended.append((row, bool(terminated)))
            elif game.forbids_actions:
                self._legal_actions[row] = game.legal_actions()
        self._returns += sign * rewards
        self._lengths += 1
        return ended

    def _take_piece(self, segment: "_Segment", row: int, end: int, *, terminated: bool, truncated: bool) -> Trajectory:
        """The transitions of a row's game that have not been taken yet, up to move `end` of the segment."""
        taken = slice(int(segment.taken[row]), end)
        segment.taken[row] = end
        return Trajectory(
            observations=np.concatenate([segment.observations[row, taken], self._stacks.newest[row : row + 1]]),
            actions=segment.actions[row, taken],
            rewards=segment.rewards[row, taken],
            to_play=np.append(segment.to_play[row, taken], self._to_play[row]),
            legal_actions=segment.legal_actions[row, taken],
            search_policies=segment.search_policies[row, taken],
            root_values=segment.root_values[row, taken],
            terminated=terminated,
            truncated=truncated,
            final_value=0.0,
            weights_version=self._weights_version,
            seed=int(self._seeds[row]),
            game_id=int(self._game_ids[row]),
            first_step=int(self._lengths[row]) - (taken.stop - taken.start),
        )

    def _episode(self, row: int, *, truncated: bool) -> Episode:
        total = float(self._returns[row])
        # Subtracted from zero, a draw is 0.0 for both rather than -0.0.
        returns = (total,) if self._spec.num_players == 1 else (total, 0.0 - total)
        return Episode(returns, int(self._lengths[row]), int(self._seeds[row]), truncated)

    def _add_final_values(self, pieces: list[Trajectory], last_states: dict[int, np.ndarray]) -> None:
        """Puts the network's values of last states into the pieces of these numbers, which were truncated.

        The last states of a stretch are evaluated together, in batches of G filled up with whatever is
        there: engines keep memory for one batch size, and a stretch seldom holds more truncated games.
        """
        truncated, size = list(last_states), len(self._games)
        for start in range(0, len(truncated), size):
            chosen = truncated[start : start + size]
            last = self._stacks.stacked.copy()
            last[: len(chosen)] = [last_states[i] for i in chosen]
            values = self._model.initial(last, num_nodes=1).values
            for i, value in zip(chosen, values.tolist(), strict=False):
                pieces[i] = replace(pieces[i], final_value=value)


def _ladder(first: float, last: float, count: int) -> np.ndarray:
    """`[count]` numbers, evenly from first to last; one alone is the last: a game that plays alone has to explore."""
    return np.linspace(first, last, count, dtype=np.float32) if count > 1 else np.array([last], np.float32)


@dataclass
class _Segment:
    """What happens in one stretch of M moves of G games; freshly made for each, as trajectories are views of it."""

    observations: np.ndarray  # [G, M, ...]
    actions: np.ndarray  # [G, M] int32
    rewards: np.ndarray  # [G, M] float32
    to_play: np.ndarray  # [G, M] int8
    legal_actions: np.ndarray  # [G, M, A] bool
    search_policies: np.ndarray  # [G, M, A] float32
    root_values: np.ndarray  # [G, M] float32
    taken: np.ndarray  # [G] int64; moves of each row that are in a piece already

    @classmethod
    def empty(cls, games: int, moves: int, spec: GameSpec) -> "_Segment":
        return cls(
            observations=np.empty((games, moves, *spec.observation_shape), spec.observation_dtype),
            actions=np.empty((games, moves), np.int32),
            rewards=np.empty((games, moves), np.float32),
            to_play=np.empty((games, moves), np.int8),
            legal_actions=np.empty((games, moves, spec.num_actions), bool),
            search_policies=np.empty((games, moves, spec.num_actions), np.float32),
            root_values=np.empty((games, moves), np.float32),
            taken=np.zeros(games, np.int64),
        )


def sample_actions(policies: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws one action per row of `[B, A]` policies; one of probability 0 is never drawn.

    Returns:
        `[B]` int64.
    """
    cumulative = np.cumsum(policies, axis=1, dtype=np.float64)
    # The first action whose cumulative probability exceeds a number below the total, so rounding in the
    # total cannot lead past the last action, nor to one that adds nothing.
    thresholds = rng.random(len(policies)) * cumulative[:, -1]
    actions: np.ndarray = (cumulative > thresholds[:, None]).argmax(axis=1)
    return actions

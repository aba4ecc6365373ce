"""Every kind of broken game is told in a sentence: field, what was wanted, what came, what to do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from reference.counting_game import CountingGame

from muzero_ray.adapters.loading import load_game, shipped_games
from muzero_ray.core.checked_game import CheckedGame, GameError
from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.game_check import check_game


class Nim(Game):
    """Seven stones, take one or two; whoever takes the last wins. Sound; every broken game below changes one thing."""

    spec = GameSpec(observation_shape=(2,), num_actions=2, num_players=2, value_bounds=(-1.0, 1.0))

    def reset(self, seed: int) -> Any:
        self.stones, self.moves = 7, 0
        return self.observe(), {}

    def observe(self) -> Any:
        return np.array([self.stones, self.moves], dtype=np.float32)

    def step(self, action: int) -> Any:
        if self.stones == 0 or not self.legal_actions()[action]:
            raise ValueError("illegal")
        self.stones -= action + 1
        self.moves += 1
        return self.observe(), self.reward(), self.stones == 0, False, {}

    def reward(self) -> Any:
        return float(self.stones == 0)

    def legal_actions(self) -> Any:
        return np.array([self.stones >= 1, self.stones >= 2])

    @property
    def to_play(self) -> Any:
        return self.moves % 2


def broken(**changes: Any) -> Callable[[], Game]:
    """Nim with some attributes replaced."""
    return type("Broken", (Nim,), changes)


def shared_array(self: Any) -> Any:
    if not hasattr(self, "buffer"):
        self.buffer = np.zeros(2, np.float32)
    self.buffer[:] = self.stones, self.moves
    return self.buffer


def random_start(self: Any, seed: int) -> Any:
    self.stones, self.moves = int(np.random.default_rng().integers(20, 80)), 0
    return self.observe(), {}


def remembering_reset(self: Any, seed: int) -> Any:
    self.games = getattr(self, "games", 0) + 1
    self.stones, self.moves = 7 + self.games % 2, 0
    return self.observe(), {}


STONES_OF_ALL = [0]


def stones_on_the_class() -> property:
    """One pile for all games of the class, which each resets to seven."""
    return property(lambda self: STONES_OF_ALL[0], lambda self, stones: STONES_OF_ALL.__setitem__(0, stones))


def seeds_the_module(self: Any, seed: int) -> Any:
    np.random.seed(seed)
    return Nim.reset(self, seed)


def observe_and_keep(self: Any) -> Any:
    STONES_OF_ALL[0] = self.stones
    return Nim.observe(self)


def step_with(change: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    return lambda self, action: change(Nim.step(self, action))


def careless_step(self: Any, action: int) -> Any:
    self.stones = max(0, self.stones - action - 1)
    self.moves += 1
    return self.observe(), self.reward(), self.stones == 0, False, {}


def crash_in_step_3(self: Any, action: int) -> Any:
    if self.moves == 2:
        return {}["missing"]
    return Nim.step(self, action)


def spec(**changes: Any) -> GameSpec:
    values = {"observation_shape": (2,), "num_actions": 2, "num_players": 2, "value_bounds": (-1.0, 1.0)}
    return GameSpec(**{**values, **changes})


BROKEN = {
    "spec is missing": (broken(spec=None), "broken: spec must be a GameSpec, got NoneType; set spec = "),
    "spec shape": (broken(spec=spec(observation_shape=2)), "spec.observation_shape must be a tuple of positive int"),
    "spec actions": (broken(spec=spec(num_actions=0)), "spec.num_actions must be a positive integer, got 0"),
    "spec players": (broken(spec=spec(num_players=3)), "spec.num_players must be 1 or 2, got 3"),
    "spec dtype": (broken(spec=spec(observation_dtype="float64")), "observation_dtype must be 'float32' or 'uint8'"),
    "stack of none": (broken(spec=spec(frame_stack=0)), "spec.frame_stack must be a positive integer, got 0"),
    "stack of vectors": (
        broken(spec=spec(frame_stack=4)),
        "spec.observation_shape must be that of a frame, (C, H, W), where frame_stack is 4, got (2,)",
    ),
    "stack for two": (
        broken(spec=spec(frame_stack=2, observation_shape=(1, 2, 3))),
        "spec.frame_stack must be 1 with two players, got 2; mend the game's spec",
    ),
    "protocol": (broken(spec=spec(protocol="a\nb")), "spec.protocol must be one line of text, got 'a\\nb'"),
    "one bound": (
        broken(spec=spec(value_bounds=(-1.0,))),
        "broken: spec.value_bounds must be two numbers, such as (-1.0, 1.0), got (-1.0,); mend the game's spec",
    ),
    "a number for bounds": (broken(spec=spec(value_bounds=1.0)), "must be two numbers, such as (-1.0, 1.0), got 1.0;"),
    "bounds in words": (broken(spec=spec(value_bounds=("-1", "1"))), "value_bounds must be two numbers, such as"),
    "stack without shape": (
        broken(spec=spec(observation_shape=2, frame_stack=4)),
        "spec.observation_shape must be a tuple of positive integers, got 2",
    ),
    "bounds fall": (broken(spec=spec(value_bounds=(1.0, -1.0))), "value_bounds must be finite and rise, got (1.0, "),
    "bounds lopsided": (broken(spec=spec(value_bounds=(0.0, 1.0))), "value_bounds must be symmetric"),
    "bounds too narrow": (
        broken(reward=lambda self: 5.0 * (self.stones == 0)),
        "the sum of rewards must lie within value_bounds (-1.0, 1.0), got ",
    ),
    "shape": (broken(observe=lambda self: np.zeros(3, np.float32)), "observation must have shape (2,), got (3,)"),
    "dtype": (broken(observe=lambda self: np.zeros(2)), "must have dtype float32, got float64 at the start"),
    "not an array": (broken(observe=lambda self: [0.0, 0.0]), "observation must be a NumPy array, got list"),
    "observation NaN": (
        broken(observe=lambda self: np.array([1, np.nan], np.float32)),
        "broken.reset: observation must be finite, got nan at index [1] at the start of the episode (seed 0)",
    ),
    "shared array": (broken(observe=shared_array), "observation must not change once returned, got another content"),
    "reward NaN": (broken(reward=lambda self: np.nan), "broken.step: reward must be finite, got nan after action"),
    "reward text": (broken(reward=lambda self: "1"), "reward must be a number, got str after action"),
    "terminated": (broken(step=step_with(lambda r: (*r[:2], int(r[2]), *r[3:]))), "terminated must be True or False, "),
    "truncated": (broken(step=step_with(lambda r: (*r[:3], None, {}))), "truncated must be True or False, got None"),
    "old gym step": (broken(step=step_with(lambda r: r[:4])), "result must be a tuple (observation, reward, term"),
    "old gym reset": (
        broken(reset=lambda self, seed: Nim.reset(self, seed)[0]),
        "a tuple (observation, info), got nda",
    ),
    "legal shape": (broken(legal_actions=lambda self: np.ones(5, bool)), "legal actions must have shape (2,), got (5,"),
    "legal dtype": (broken(legal_actions=lambda self: np.ones(2)), "legal actions must have dtype bool, got float64"),
    "legal list": (broken(legal_actions=lambda self: [True, True]), "legal actions must be a NumPy array, got list"),
    "none legal": (broken(legal_actions=lambda self: np.zeros(2, bool)), "allow at least one action, got none"),
    "player 2": (broken(to_play=property(lambda self: self.moves % 2 + 1)), "to_play must be 0 or 1, got 2"),
    "moves twice": (
        broken(to_play=property(lambda self: self.moves // 2 % 2)),
        "to_play must change with every move in a game for two, got 0 twice in a row after action",
    ),
    "turns in a game for one": (
        broken(spec=spec(num_players=1, value_bounds=None)),
        "broken.to_play: to_play must be 0 in a game for one, got 1 after action",
    ),
    "forgets the seed": (broken(reset=random_start), "the same seed and actions must give the same episode"),
    "remembers the last game": (broken(reset=remembering_reset), "must give the same episode, got a difference"),
    "state on the class": (
        broken(stones=stones_on_the_class()),
        "broken.reset: an episode must go as ever while another game is played beside it, got a difference after "
        "action 1 in step 1 (seed 0); games share state or random numbers: keep both on self, not on the class",
    ),
    "random numbers of the module": (
        broken(
            reset=seeds_the_module,
            observe=lambda self: np.array([self.stones, np.random.random()], np.float32),
        ),
        "must go as ever while another game is played beside it, got a difference after action ",
    ),
    "legal actions on the class": (
        broken(observe=observe_and_keep, legal_actions=lambda self: STONES_OF_ALL[0] >= np.array([1, 2])),
        "while another game is played beside it, got a difference after action ",
    ),
    "illegal move": (broken(step=careless_step), "step: an illegal action must raise ValueError, got no error"),
    "move after the end": (broken(step=careless_step), "an action after the end must raise ValueError, got no error"),
    "goes on without stones": (
        broken(step=step_with(lambda r: (*r[:2], False, False, {})), legal_actions=lambda s: np.ones(2, bool)),
        "step() must not raise, got ValueError: illegal",
    ),
    "crash": (broken(step=crash_in_step_3), "step() must not raise, got KeyError: 'missing' in line "),
    "notation": (
        broken(action_to_string=lambda self, action: "take"),
        "action must give 1 for 'take', as action_to_string wrote it, got 0",
    ),
    "text": (broken(text=lambda self: 3), "broken.text: result must be a string, got 3"),
    "expert": (broken(expert_action=lambda self: 7), "expert_action: action must be legal, got 7"),
}


def test_a_sound_game_has_no_problems() -> None:
    assert check_game(Nim) == []
    assert check_game(CountingGame) == []


@pytest.mark.parametrize("name", shipped_games())
def test_every_shipped_game_keeps_the_contract(name: str) -> None:
    episodes = 2 if name == "pong" else 20  # a game of Pong is a thousand moves, on frames
    assert check_game(load_game(name), episodes=episodes) == []


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_game_is_told_in_a_sentence(kind: str) -> None:
    make_game, sentence = BROKEN[kind]
    problems = check_game(make_game, max_steps=500)
    assert any(sentence in problem for problem in problems), problems


@pytest.mark.parametrize("kind", BROKEN)
def test_each_kind_of_problem_is_told_once(kind: str) -> None:
    problems = check_game(BROKEN[kind][0], max_steps=500)
    starts = [problem.split(", got ")[0] for problem in problems]
    assert len(starts) == len(set(starts))


def test_several_problems_of_one_game_are_all_told() -> None:
    make_game = broken(reward=lambda self: np.inf, text=lambda self: None, to_play=property(lambda self: np.int64(0)))
    problems = "\n".join(check_game(make_game))
    assert "reward must be finite" in problems
    assert "text: result must be a string" in problems


def test_an_episode_without_end_is_reported_after_max_steps() -> None:
    (problem,) = check_game(lambda: CountingGame(length=10**9), max_steps=200)
    assert "an episode must end, got neither terminated nor truncated in 200 random steps" in problem
    assert problem.endswith("return truncated=True after a fixed number of moves")


def test_games_that_draw_from_a_generator_of_their_own_share_nothing() -> None:
    def reset(self: Any, seed: int) -> Any:
        self.rng = np.random.default_rng(seed)
        return Nim.reset(self, seed)

    assert check_game(broken(reset=reset, observe=lambda self: self.rng.random(2, np.float32))) == []


def test_what_only_another_seed_breaks_is_not_called_shared() -> None:
    def reset(self: Any, seed: int) -> Any:
        if seed != 0:
            raise RuntimeError("no such level")
        return Nim.reset(self, seed)

    assert check_game(broken(reset=reset), episodes=1) == []
    (problem,) = check_game(broken(reset=reset), episodes=2)
    assert "reset() must not raise, got RuntimeError: no such level" in problem


def test_a_constructor_that_raises_is_reported() -> None:
    def fails() -> Game:
        raise RuntimeError("no licence")

    assert check_game(fails, name="mygame") == [
        "mygame: the constructor must not raise, got RuntimeError: no licence; mend it"
    ]


def test_a_watched_game_stops_the_run_with_game_field_action_step_and_seed() -> None:
    game = CheckedGame(broken(reward=lambda self: np.nan if self.moves == 4 else 0.0)(), name="tictactoe")
    game.reset(12)
    for _ in range(3):
        game.step(0)
    with pytest.raises(GameError) as caught:
        game.step(1)
    wanted = "tictactoe.step: reward must be finite, got nan after action 1 in step 4 (seed 12)"
    assert str(caught.value).startswith(wanted)


def test_an_exception_in_a_watched_game_is_chained_and_placed() -> None:
    game = CheckedGame(broken(step=crash_in_step_3)())
    game.reset(5)
    game.step(0)
    game.step(0)
    place = r"broken.step: step\(\) must not raise, got KeyError: 'missing' in line \d+ of test_game_check.py"
    with pytest.raises(GameError, match=place + r" after action 1 in step 3 \(seed 5\)") as caught:
        game.step(1)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_watched_game_answers_what_the_game_answers() -> None:
    game, watched = Nim(), CheckedGame(Nim())
    np.testing.assert_array_equal(game.reset(0)[0], watched.reset(0)[0])
    for action in (1, 0, 1):
        plain, seen = game.step(action), watched.step(action)
        np.testing.assert_array_equal(plain[0], seen[0])
        assert plain[1:] == seen[1:]
        np.testing.assert_array_equal(game.legal_actions(), watched.legal_actions())
        assert (game.to_play, game.text(), game.action_to_string(1)) == (
            watched.to_play,
            watched.text(),
            watched.action_to_string(1),
        )


def test_the_shared_answer_of_a_game_that_allows_everything_cannot_be_written_to() -> None:
    game = CheckedGame(CountingGame())
    game.reset(0)
    with pytest.raises(ValueError, match="read-only"):
        game.legal_actions()[0] = False


def test_the_game_that_evaluation_plays_is_watched_as_well_and_keeps_its_name() -> None:
    class Aided(Nim):
        def evaluated(self) -> Game:
            return broken(reward=lambda self: np.nan)()

    game = CheckedGame(Aided(), name="mygame").evaluated()
    game.reset(0)
    with pytest.raises(GameError, match=r"mygame\.step: reward must be finite"):
        game.step(0)


@pytest.mark.parametrize("number", [1e30, -3e38])
def test_numbers_whose_squares_overflow_are_finite_all_the_same(number: float) -> None:
    class Huge(CountingGame):
        def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
            observation, *rest = super().step(action)
            return np.full_like(observation, number), *rest

    game = CheckedGame(Huge())
    game.reset(0)
    assert (game.step(0)[0] == np.float32(number)).all()

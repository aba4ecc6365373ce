"""Matches: both sides alike, the same every time, and opponents that fail lose their games."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from reference.aided_games import AidedNoughts
from reference.counting_game import CountingGame
from reference.fake_planner import FakeModel, FakePlanner
from reference.toy_games import Noughts

from muzero_ray.adapters.loading import load_game
from muzero_ray.core.game import Game
from muzero_ray.play.fixtures import AgentPlayer, OpponentPlayer, Table
from muzero_ray.play.match import MatchResult, OpeningError, draw_openings, play_match
from muzero_ray.play.opponent import Opponent, OpponentError, OpponentResigned
from muzero_ray.play.opponents import ExpertOpponent, RandomOpponent, make_opponent


class Scripted(Opponent):
    """Answers what a function of the history says; an exception that it returns is raised."""

    name = "scripted"

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.closed = 0

    def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
        answer = self._answer(game, history)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    def close(self) -> None:
        self.closed += 1


def agent(num_actions: int = 9) -> AgentPlayer:
    return AgentPlayer("agent", FakePlanner(), FakeModel(num_actions))


def player(opponent: Opponent) -> OpponentPlayer:
    return OpponentPlayer(lambda: opponent)


def test_openings_are_the_same_for_the_same_seed_and_differ_from_each_other() -> None:
    game = load_game("connect4")()
    openings = draw_openings(game, 5, 20, 4)
    assert openings == draw_openings(game, 5, 20, 4)
    assert openings != draw_openings(game, 6, 20, 4)
    assert len({actions for _, actions in openings}) == 20
    assert {len(actions) for _, actions in openings} == {4}
    assert draw_openings(game, 5, 30, 4)[:20] == openings


def test_openings_repeat_where_there_are_not_enough_of_them() -> None:
    # Nine first moves for twelve openings: all nine are drawn first.
    actions = [actions for _, actions in draw_openings(load_game("tictactoe")(), 0, 12, 1)]
    assert {len(each) for each in actions} == {1}
    assert len(set(actions[:9])) == 9


def test_openings_that_end_the_game_are_drawn_again() -> None:
    game = load_game("tictactoe")()
    for _, actions in draw_openings(game, 0, 30, 7):
        game.reset(0)
        assert not any(game.step(action)[2] for action in actions)


def test_openings_longer_than_any_game_are_refused() -> None:
    with pytest.raises(OpeningError, match="opening_moves: wanted fewer, got 9"):
        draw_openings(load_game("tictactoe")(), 0, 1, 9)


@pytest.mark.parametrize("max_games", [1, 3, 64])
def test_every_opening_is_played_twice_with_colours_swapped(max_games: int) -> None:
    seen: list[tuple[tuple[int, ...], int]] = []

    class Listening(RandomOpponent):
        def choose(self, game: Game, history: Sequence[int], rng: np.random.Generator) -> int:
            if len(history) in (2, 3) and game.to_play == len(history) % 2:
                seen.append((tuple(history[:2]), len(history)))
            return super().choose(game, history, rng)

    play_match(
        load_game("connect4"), agent(7), player(Listening()), games=10, opening_moves=2, seed=3, max_games=max_games
    )
    openings = {actions for _, actions in draw_openings(load_game("connect4")(), 3, 5, 2)}
    assert len(seen) == 10
    # The opponent's first move comes after two moves in the one game, and after three in the other.
    assert set(seen) == {(actions, length) for actions in openings for length in (2, 3)}


def test_results_do_not_depend_on_how_many_games_are_played_at_once() -> None:
    results = [
        play_match(
            load_game("connect4"), agent(7), player(RandomOpponent()), games=12, opening_moves=2, max_games=max_games
        )
        for max_games in (1, 5, 64)
    ]
    assert results[0] == results[1] == results[2]


def test_a_match_tells_wins_from_the_first_players_side_whoever_begins() -> None:
    make_game = load_game("tictactoe")
    strong, weak = player(ExpertOpponent()), player(RandomOpponent())
    result = play_match(make_game, strong, weak, games=40, opening_moves=0)
    assert result.losses == 0
    assert result.wins > 25
    turned = play_match(make_game, weak, strong, games=40, opening_moves=0)
    assert turned.wins == 0
    assert turned.losses > 25


def test_perfect_players_draw_every_game_of_tic_tac_toe_without_openings() -> None:
    make_game = load_game("tictactoe")
    perfect = player(make_opponent("perfect", make_game()))
    result = play_match(make_game, perfect, player(ExpertOpponent()), games=6)
    assert (result.wins, result.draws, result.losses) == (0, 6, 0)
    assert result.elo == 0.0


def test_a_match_is_played_without_the_aids_of_training() -> None:
    # Perfect play draws; in training whoever takes the centre would win by half a point.
    perfect = make_opponent("perfect", Noughts())
    result = play_match(AidedNoughts, player(perfect), player(perfect), games=20)
    assert (result.wins, result.draws, result.losses) == (0, 20, 0)


def test_openings_of_a_match_are_those_of_the_game_without_the_aids_of_training() -> None:
    opponents = player(RandomOpponent()), player(RandomOpponent())
    result = play_match(lambda: AidedNoughts(stops_after=2), *opponents, games=4, opening_moves=4)
    assert result.length >= 5.0


def test_the_agents_searches_are_batched_and_fill_up_to_powers_of_two() -> None:
    model = FakeModel(7)
    play_match(
        load_game("connect4"),
        AgentPlayer("agent", FakePlanner(), model),
        player(RandomOpponent()),
        games=12,
        opening_moves=2,
    )
    assert max(model.batch_sizes) == 16
    assert set(model.batch_sizes) <= {1, 2, 4, 8, 16}
    # All twelve games are searched together from the first move on.
    assert model.batch_sizes[0] == 16


def test_two_agents_play_each_other_in_full_batches() -> None:
    models = [FakeModel(7), FakeModel(7)]
    players = [AgentPlayer(name, FakePlanner(), model) for name, model in zip("ab", models, strict=True)]
    result = play_match(load_game("connect4"), *players, games=8, opening_moves=3)
    assert len(result.scores) == 8
    # Both play the same, so each opening is won by the same colour twice, or drawn.
    assert result.score == 0.5
    assert all(size <= 8 for model in models for size in model.batch_sizes)


def test_a_truncated_game_is_a_draw() -> None:
    result = play_match(
        lambda: CountingGame(3, num_players=2, truncates=True), agent(3), player(RandomOpponent()), games=4
    )
    assert result.draws == 4


def test_a_sum_of_rewards_decides() -> None:
    # Steps 0 and 1: rewards 10 t + action. The agent plays 2 and 2; the other 0. Whoever has step 1 has more.
    result = play_match(lambda: CountingGame(2, num_players=2), agent(3), player(Scripted(lambda *_: 0)), games=2)
    assert result.scores == (0.0, 1.0)


def test_an_opponent_is_told_all_moves_so_far_of_both_and_of_the_opening() -> None:
    told = []

    def listen(game: Game, history: Sequence[int]) -> int:
        told.append(history)
        return 0

    play_match(
        lambda: CountingGame(5, num_players=2),
        agent(3),
        player(Scripted(listen)),
        games=2,
        opening_moves=1,
        max_games=1,
    )
    ((_, opening),) = draw_openings(CountingGame(5, num_players=2), 0, 1, 1)
    # The agent's moves are 2, 1, 0, 2 in steps 1 to 4: it has steps 2 and 4, then 1 and 3.
    assert told == [opening, (*opening, 0, 1), (*opening, 2), (*opening, 2, 0, 0)]


def test_an_opponent_that_fails_loses_that_game_and_is_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    made: list[Scripted] = []

    def make() -> Opponent:
        # The first one dies at its second move; the next ones are well.
        dies = not made

        def answer(game: Game, history: Sequence[int]) -> Any:
            if dies and len(history) >= 2:
                return OpponentError("the engine has gone")
            return np.flatnonzero(game.legal_actions())[0]

        made.append(Scripted(answer))
        return made[-1]

    with caplog.at_level(logging.WARNING):
        result = play_match(load_game("tictactoe"), agent(), OpponentPlayer(make), games=4, max_games=1)
    assert result.forfeits == 1
    assert result.scores[0] == 1.0
    assert len(result.scores) == 4
    assert len(made) == 2
    assert made[0].closed == 1
    assert len(caplog.records) == 1
    assert "scripted forfeits game 1 after 3 moves: the engine has gone" in caplog.text


def test_an_opponent_that_resigns_loses_without_a_forfeit_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    resigning = Scripted(lambda *_: OpponentResigned("scripted resigns"))
    result = play_match(load_game("tictactoe"), agent(), player(resigning), games=8)
    assert (result.wins, result.forfeits) == (8, 0)
    assert caplog.text == ""
    assert resigning.closed == 0


def test_an_illegal_answer_is_a_forfeit(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([99])

    def answer(game: Game, history: Sequence[int]) -> Any:
        return next(answers, np.flatnonzero(game.legal_actions())[0])

    result = play_match(load_game("tictactoe"), agent(), player(Scripted(answer)), games=2, max_games=1)
    assert result.forfeits == 1
    assert "scripted: wanted a legal action, got 99" in caplog.text


def test_after_three_forfeits_in_a_row_the_match_stops() -> None:
    broken = player(Scripted(lambda *_: OpponentError("no answer in 60 s")))
    with pytest.raises(OpponentError, match="scripted forfeited 3 games in a row, the last one by: no answer in 60 s"):
        play_match(load_game("tictactoe"), agent(), broken, games=20)


def test_forfeits_with_games_between_them_do_not_stop_a_match() -> None:
    games = iter(range(1000))
    state = {"game": -1}

    def answer(game: Game, history: Sequence[int]) -> Any:
        if len(history) < 2:
            state["game"] = next(games)
        if state["game"] % 3:
            return OpponentError("asleep")
        return np.flatnonzero(game.legal_actions())[0]

    result = play_match(load_game("tictactoe"), agent(), player(Scripted(answer)), games=12, max_games=1)
    assert result.forfeits == 8


def test_an_opponent_that_cannot_be_made_is_told_at_once() -> None:
    def make() -> Opponent:
        raise OpponentError("gnugo cannot be started")

    with pytest.raises(OpponentError, match="gnugo cannot be started"):
        OpponentPlayer(make)


def test_a_match_needs_a_game_for_two() -> None:
    with pytest.raises(ValueError, match="wanted a game for 2 players, got one for 1"):
        play_match(lambda: CountingGame(3), agent(3), agent(3), games=2)


def test_a_result_adds_up() -> None:
    result = MatchResult((1.0, 0.5, 1.0, 0.0, 1.0, 1.0), forfeits=0, length=20.0)
    assert (result.wins, result.draws, result.losses) == (4, 1, 1)
    assert result.score == 0.75
    # Games 0, 2, 4 as player 0: all three points; games 1, 3, 5 as player 1: 1.5 of 3.
    assert result.score_by_seat == (1.0, 0.5)
    assert result.elo == pytest.approx(190.85, abs=0.005)
    low, high = result.elo_interval
    assert low < result.elo < high
    assert MatchResult((1.0,), 0, 5.0).score_by_seat == (1.0, None)


def test_a_table_tells_players_the_game_the_moves_and_the_newest_observation() -> None:
    seen: list[Table] = []

    class Looking(AgentPlayer):
        def choose(self, tables: Sequence[Table]) -> Sequence[int | OpponentError]:
            for table in tables:
                seen.append(table)
                replayed = load_game("tictactoe")()
                observation, _ = replayed.reset(0)
                for action in table.history:
                    observation = replayed.step(action)[0]
                np.testing.assert_array_equal(table.observation, observation)
            return super().choose(tables)

    play_match(
        load_game("tictactoe"),
        Looking("agent", FakePlanner(), FakeModel(9)),
        player(RandomOpponent()),
        games=4,
        opening_moves=1,
    )
    assert seen


def test_an_agent_that_does_not_search_never_beats_the_expert() -> None:
    agent = AgentPlayer("agent", FakePlanner(), FakeModel(9))
    result = play_match(load_game("tictactoe"), agent, OpponentPlayer(ExpertOpponent), games=10)
    assert result.wins == 0


@pytest.mark.parametrize("make_opponent", [RandomOpponent, ExpertOpponent])
def test_a_match_is_the_same_every_time(make_opponent: type[Opponent]) -> None:
    agent = AgentPlayer("agent", FakePlanner(), FakeModel(9))
    first, second = (
        play_match(load_game("tictactoe"), agent, OpponentPlayer(make_opponent), games=20) for _ in range(2)
    )
    assert first == second

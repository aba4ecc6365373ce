"""Pieces that overtake each other on their way are stored as they were played; lost ones hold nothing up for long."""

from collections.abc import Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from reference.replay_buffers import game_of

from muzero_ray.core.types import Trajectory
from muzero_ray.replay.piece_order import PieceOrder

PATIENCE = 3


def pieces_of(game_id: int, count: int, ending: str = "terminated") -> list[Trajectory]:
    game = game_of(4 * count, game_id, ending)
    return [game.next_piece(4) for _ in range(count)]


def places(pieces: Sequence[Trajectory]) -> list[tuple[int, int]]:
    return [(piece.game_id, piece.first_step) for piece in pieces]


def test_what_comes_in_order_is_passed_on_at_once():
    order = PieceOrder(PATIENCE)
    for piece in (*pieces_of(7, 3), *pieces_of(8, 2)):
        assert places(order.put([piece])) == places([piece])


def test_a_piece_that_overtook_its_predecessor_waits_for_it():
    order = PieceOrder(PATIENCE)
    first, second, third = pieces_of(7, 3)
    other = pieces_of(8, 1)
    assert places(order.put([third, *other])) == [(8, 0)], "another game does not wait with it"
    assert places(order.put([second])) == []
    assert places(order.put([first])) == [(7, 0), (7, 4), (7, 8)]


def test_a_piece_whose_predecessor_was_lost_is_passed_on_when_so_many_more_deliveries_have_come():
    order = PieceOrder(PATIENCE)
    first, _, third, fourth = pieces_of(7, 4, "open")
    others = pieces_of(8, 5)
    assert places(order.put([first])) == [(7, 0)]
    assert order.put([third]) == []
    assert places(order.put([fourth, others[0]])) == [(8, 0)]
    assert places(order.put([others[1]])) == [(8, 4)]
    assert places(order.put([others[2]])) == [(8, 8), (7, 8), (7, 12)], "three deliveries after it came"


def test_each_piece_waits_for_its_own_time():
    order = PieceOrder(2)
    pieces = pieces_of(7, 5, "open")
    assert order.put([pieces[1]]) == []
    assert order.put([pieces[3]]) == []
    assert places(order.put([])) == [(7, 4)], "the first was lost"
    assert places(order.put([pieces[2]])) == [(7, 8), (7, 12)]


def test_a_piece_that_comes_after_it_was_given_up_is_passed_on_for_the_buffer_to_leave_out():
    order = PieceOrder(1)
    first, second, third = pieces_of(7, 3, "open")
    order.put([second])
    assert places(order.put([])) == [(7, 4)]
    assert places(order.put([first])) == [(7, 0)]
    assert places(order.put([third])) == [(7, 8)]


def test_of_games_that_ended_nothing_is_remembered():
    order = PieceOrder(PATIENCE)
    for game_id in range(100):
        first, second = pieces_of(game_id, 2)
        order.put([second])
        order.put([first])
    assert not order._next_steps
    assert not order._held


@given(data=st.data(), patience=st.integers(1, 4), games=st.integers(1, 3))
def test_whatever_order_and_losses_there_are_each_piece_comes_once_and_after_those_before_it(
    data: st.DataObject, patience: int, games: int
):
    lengths = [data.draw(st.integers(1, 6)) for _ in range(games)]
    pieces = [piece for game_id, count in enumerate(lengths) for piece in pieces_of(game_id, count, "open")]
    came = data.draw(st.permutations(pieces))
    came = came[: data.draw(st.integers(0, len(came)))]
    order = PieceOrder(patience)
    passed = [piece for piece in came for piece in order.put([piece])]
    passed += [piece for _ in range(patience * len(pieces)) for piece in order.put([])]
    assert sorted(places(passed)) == sorted(places(came))
    position = {place: i for i, place in enumerate(places(came))}
    for game_id in range(games):
        ours = [step for game, step in places(passed) if game == game_id]
        for before, after in combinations(ours, 2):
            waited = [position[game_id, step] for step in ours if step > after]
            assert before < after or min(waited) + patience <= position[game_id, after], "out of order, and not late"


@given(data=st.data(), patience=st.integers(1, 4))
def test_those_that_are_under_way_together_may_come_in_any_order(data: st.DataObject, patience: int):
    pieces = pieces_of(7, 6 * patience)
    together = [pieces[i : i + patience] for i in range(0, len(pieces), patience)]
    came = [piece for some in together for piece in data.draw(st.permutations(some))]
    order = PieceOrder(patience)
    assert places([piece for arrived in came for piece in order.put([arrived])]) == places(pieces)

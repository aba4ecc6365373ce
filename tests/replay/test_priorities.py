"""Priorities through a buffer's whole life, against a dictionary that is told of every change."""

import numpy as np
import pytest
from reference.naive_priorities import NaivePriorities
from reference.naive_replay import RecordedGame, random_game
from reference.replay_buffers import all_indices, make_buffer

from muzero_ray.core.types import ReanalyzeResult
from muzero_ray.replay.priorities import Priorities


@pytest.mark.parametrize("capacity", [23, 10_000])
@pytest.mark.parametrize("seed", [0, 1])
def test_priorities_and_importance_weights_equal_their_twin_through_every_change(capacity: int, seed: int):
    rng = np.random.default_rng([capacity, seed])
    exponents = {"priority_exponent": 0.6, "importance_exponent": 0.4}
    buffer = make_buffer(capacity_steps=capacity, prioritized=True, batch_size=8, **exponents)
    twin = NaivePriorities(**exponents)
    games: list[RecordedGame] = []
    known, pending, requests = -1, [], []
    for turn in range(150):
        waiting = [game for game in games if game.delivered < game.length]
        if not waiting or rng.random() < 0.4:
            games.append(random_game(rng, len(games)))
            waiting = [games[-1]]
        buffer.add(waiting[rng.integers(len(waiting))].next_piece(int(rng.integers(1, 6))))
        kinds = buffer.state_dict()["kinds"]
        for index, kind in zip(all_indices(buffer).tolist(), kinds.tolist(), strict=True):
            if index > known and kind == 0:
                twin.come(index)
        known = int(all_indices(buffer)[-1])
        for index in set(twin.chances) - set(all_indices(buffer).tolist()):
            twin.leave(index)

        batch = buffer.sample()
        wanted = twin.importance_weights(batch.indices.tolist())
        np.testing.assert_allclose(batch.importance_weights, wanted, rtol=1e-5)
        # Errors and repeated searches come back late and out of order, some for states that have left.
        pending.append((batch.indices, 3 * rng.random(8)))
        requests.append(buffer.reanalyze_request(4).indices)
        if turn % 3 == 0:
            indices, errors = pending.pop(rng.integers(len(pending)))
            buffer.update_priorities(indices, errors)
            for index, error in zip(indices.tolist(), errors.tolist(), strict=True):
                twin.learn(index, error)
            late = requests.pop(rng.integers(len(requests)))
            buffer.refresh(ReanalyzeResult(late, np.tile(np.float32([0, 1, 0]), (4, 1)), np.ones(4, np.float32), 1))

        state = buffer.state_dict()
        stored = dict(zip(all_indices(buffer).tolist(), state["priorities"].tolist(), strict=True))
        assert stored == pytest.approx({index: twin.chances.get(index, 0.0) for index in stored})
    assert capacity > 100 or known > 5 * capacity


def slots(*numbers):
    return np.array(numbers, dtype=np.int64)


def test_errors_become_powers_and_new_states_enter_with_the_largest_yet():
    priorities = Priorities(8, by_error=True, exponent=0.5)
    priorities.enter(slots(0, 1, 2), np.array([True, True, False]))
    assert priorities.of(slots(0, 1, 2)).tolist() == [1, 1, 0]
    priorities.note_errors(slots(0, 1), np.array([4.0, 0.0]))
    assert priorities.of(slots(0, 1)) == pytest.approx([2.0, 0.001], rel=1e-5)  # the square roots of 4 and 1e-6
    priorities.enter(slots(3), np.array([True]))
    assert priorities.of(slots(3)) == pytest.approx([2.0], rel=1e-5)
    priorities.leave(slots(0))
    assert priorities.total == pytest.approx(2.001, rel=1e-5)
    assert priorities.largest == pytest.approx(2.0, rel=1e-5)  # though the state that had it is gone


def test_drawn_uniformly_errors_say_nothing():
    priorities = Priorities(8, by_error=False, exponent=0.5)
    priorities.enter(slots(0, 1), np.array([True, True]))
    priorities.note_errors(slots(0), np.array([9.0]))
    assert priorities.of(slots(0, 1)).tolist() == [1, 1]


def test_importance_weights_are_the_inverse_of_the_chance_to_be_drawn_from_all_parts():
    priorities = Priorities(4, by_error=True, exponent=1.0)
    priorities.restart(4, slots(0, 1, 2), np.array([1.0, 3.0, 4.0]))
    # This part has half of the mass of all: its states have 1/16, 3/16 and 4/16 of it.
    weights = priorities.importance_weights(slots(0, 1, 2), share=0.5, exponent=0.5)
    assert weights == pytest.approx([4.0, (16 / 3) ** 0.5, 2.0])
    assert (priorities.importance_weights(slots(0, 1), share=0.5, exponent=0.0) == 1).all()


@pytest.mark.parametrize(("by_error", "expected", "largest"), [(True, [0.2, 0.0, 5.0], 7.0), (False, [1, 0, 1], 1.0)])
def test_priorities_of_a_buffer_that_drew_by_error_are_all_alike_in_one_that_does_not(by_error, expected, largest):
    priorities = Priorities(2, by_error=by_error, exponent=0.5)
    priorities.load(4, slots(0, 1, 3), np.array([0.2, 0.0, 5.0]), largest=7.0)
    assert priorities.of(slots(0, 1, 3)).tolist() == expected
    assert priorities.largest == largest
    assert set(priorities.find(np.linspace(0, 1, 9))) == {0, 3}

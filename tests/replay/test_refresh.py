"""What comes back late from reanalyze and training, and what it may change."""

from dataclasses import replace

import numpy as np
import pytest
from reference.replay_buffers import make_buffer, priorities_of, whole

from muzero_ray.core.types import ReanalyzeResult


def test_reanalyze_draws_all_that_is_worth_something_and_nothing_else():
    buffer = make_buffer()
    buffer.add(whole(3, 0, "terminated"))
    buffer.add(whole(3, 1, "truncated"))
    buffer.add(whole(3, 2, "open"))
    buffer.add(whole(1, 3, "resigned"))
    request = buffer.reanalyze_request(4000)
    states, counts = np.unique(request.observations.astype(int), axis=0, return_counts=True)
    assert states.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [1, 3], [2, 0], [2, 1], [2, 2], [3, 0]]
    np.testing.assert_allclose(counts / 4000, 1 / 11, atol=0.02)
    legal = {tuple(state): tuple(row) for state, row in zip(request.observations, request.legal_actions, strict=True)}
    assert legal[0, 0] == (True, False, True)
    assert legal[1, 3] == (True, True, True)


def test_refreshing_keeps_priorities_and_prioritising_keeps_what_was_refreshed():
    buffer = make_buffer(prioritized=True)
    buffer.add(whole(4, ending="open"))
    fresh = np.tile(np.float32([0, 0, 1]), (4, 1))
    request = buffer.reanalyze_request(4)
    request = replace(request, indices=np.arange(4))
    buffer.update_priorities(np.arange(4), np.array([1.0, 2.0, 3.0, 4.0]))
    buffer.refresh(ReanalyzeResult(request.indices, fresh, np.full(4, 9.0, np.float32), 1))
    np.testing.assert_allclose(list(priorities_of(buffer).values()), [1, 2, 3, 4], rtol=1e-5)
    buffer.update_priorities(np.arange(4), np.array([4.0, 3.0, 2.0, 1.0]))
    batch = buffer.windows(np.arange(4))
    np.testing.assert_array_equal(batch.target_policies[:, 0], fresh)
    assert batch.target_values[3, 0] == 9.0


def test_an_older_search_does_not_replace_a_newer_one():
    buffer = make_buffer()
    buffer.add(replace(whole(2, ending="open"), weights_version=5))
    for version, expected in [(4, 0.0), (5, 5.0), (7, 7.0), (6, 7.0)]:
        result = ReanalyzeResult(
            np.array([1]), np.float32([[0, 0, 1]]), np.array([version], np.float32), weights_version=version
        )
        buffer.refresh(result)
        assert buffer.windows(np.array([1])).target_values[0, 0] == expected


def test_the_final_value_of_a_truncated_game_is_refreshed_and_that_of_a_terminated_one_never():
    buffer = make_buffer(discount=1.0)
    buffer.add(whole(2, 0, "truncated"))
    buffer.add(whole(2, 1, "terminated"))
    last = np.array([2, 5])
    buffer.refresh(ReanalyzeResult(last, np.float32([[1, 0, 0]] * 2), np.float32([8, 8]), 1))
    batch = buffer.windows(np.array([0, 3]))
    assert batch.target_values[:, 0].tolist() == [8, 0]
    assert batch.policy_mask[:, 2].tolist() == [0, 0]


def test_the_outcome_of_a_game_that_was_given_up_is_never_replaced_by_an_estimate():
    buffer = make_buffer(discount=1.0)
    buffer.add(whole(2, 0, "resigned"))
    buffer.refresh(ReanalyzeResult(np.array([2]), np.float32([[1, 0, 0]]), np.float32([8]), 1))
    assert buffer.windows(np.array([0])).target_values[0].tolist() == [0.5, 0.5, 0.5, 0]
    buffer.bootstrap_from(lambda observations: np.full(len(observations), 9, np.float32))
    assert buffer.windows(np.array([0])).target_values[0, 0] == 0.5


def test_what_comes_back_for_states_that_have_left_is_ignored():
    buffer = make_buffer(capacity_steps=10, prioritized=True)
    buffer.add(whole(10, 0, "open"))
    stale = np.arange(10)
    buffer.add(whole(7, 1, "open"))
    before = buffer.state_dict()
    gone = stale[:7]
    buffer.update_priorities(gone, np.full(7, 50.0))
    buffer.refresh(ReanalyzeResult(gone, np.tile(np.float32([0, 0, 1]), (7, 1)), np.full(7, 9.0, np.float32), 9))
    after = buffer.state_dict()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], name)
    with pytest.raises(ValueError, match=r"indices must lie in 7\.\.16"):
        buffer.windows(stale)


@pytest.mark.parametrize(
    ("policies", "values", "message"),
    [
        (np.zeros((2, 4)), np.zeros(2), r"need policies \(2, 3\)"),
        (np.zeros((2, 3)), np.zeros(3), r"values \(2,\)"),
        (np.zeros((2, 3)), np.array([0, np.nan]), "must be finite"),
    ],
)
def test_a_malformed_refresh_is_refused(policies: np.ndarray, values: np.ndarray, message: str):
    buffer = make_buffer()
    buffer.add(whole(3))
    with pytest.raises(ValueError, match=message):
        buffer.refresh(ReanalyzeResult(np.array([0, 1]), policies, values, 1))

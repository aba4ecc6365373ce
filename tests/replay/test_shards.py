"""Parts of a replay buffer: who answers which draw, what they are called together, and how they are joined again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.frame_games import LARGE, frame_spec, with_frames
from reference.replay_buffers import game_of, make_buffer, whole

from muzero_ray.replay.shards import join_batches, join_states, split_fractions, split_indices, split_state
from muzero_ray.replay.sum_tree import SumTree, stratified


def test_draws_fall_to_the_parts_that_lie_where_they_point_by_hand():
    # Of 1 + 0 + 3, a quarter is where the third part begins; the very end of the line belongs to it as well.
    first, second, third = split_fractions(np.array([0.1, 0.25, 0.5, 1.0]), [1.0, 0.0, 3.0])
    np.testing.assert_allclose(first, [0.4])
    assert len(second) == 0
    np.testing.assert_allclose(third, [0.0, 1 / 3, 1.0])


def test_draws_from_parts_without_anything_in_them_say_so():
    with pytest.raises(ValueError, match="all shards are empty"):
        split_fractions(np.array([0.5]), [0.0, 0.0])


@settings(deadline=None)
@given(
    priorities=st.lists(st.integers(0, 5), min_size=16, max_size=16).filter(any),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 50),
)
def test_parts_draw_together_what_one_tree_over_all_of_them_draws(priorities, seed, count):
    whole_tree, parts = SumTree(16), [SumTree(4) for _ in range(4)]
    whole_tree.set(np.arange(16), np.array(priorities))
    for number, part in enumerate(parts):
        part.set(np.arange(4), np.array(priorities[4 * number : 4 * number + 4]))
    fractions = stratified(count, np.random.default_rng(seed))
    split = split_fractions(fractions, [part.total for part in parts])
    drawn = [4 * n + part.find(at) for n, (part, at) in enumerate(zip(parts, split, strict=True)) if len(at)]
    np.testing.assert_array_equal(np.concatenate(drawn), whole_tree.find(fractions))


def test_indices_of_all_parts_lead_back_to_each():
    places = split_indices(np.array([7, 0, 4, 5, 3]), 3)
    assert [at.tolist() for at in places] == [[1, 4], [0, 2], [3]]


@pytest.mark.parametrize("frames", [False, True])
def test_joined_batches_are_the_windows_of_all_their_parts_in_a_row(frames: bool):
    spec = {"spec": frame_spec(3, LARGE)} if frames else {}
    buffers = [make_buffer(**spec, rng=np.random.default_rng(seed)) for seed in (0, 1)]
    for number, buffer in enumerate(buffers):
        game = whole(9, number)
        buffer.add(with_frames(game_of(9, number).next_piece(9), LARGE) if frames else game)
    parts = [buffer.sample_at(np.array(at)) for buffer, at in zip(buffers, ([0.1, 0.5], [0.2, 0.3, 0.9]), strict=True)]
    joined = join_batches(parts)
    joined.check()
    for name in ("observations", "next_observations", "actions", "target_values", "target_policies", "indices"):
        wanted = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(joined, name), wanted, err_msg=name)
    assert (joined.frames is not None) == frames
    assert not frames or np.shares_memory(joined.observations, joined.frames), "every frame is there once"


def test_importance_weights_of_parts_are_those_of_one_buffer_when_joined():
    # Priorities 1 and 4 here, 2 and 3 there: of ten in all. With beta = 1, weights are 1/P, divided by the largest.
    here, there = (make_buffer(prioritized=True, importance_exponent=1.0) for _ in range(2))
    for buffer, errors in ((here, [1.0, 4.0]), (there, [2.0, 3.0])):
        buffer.add(whole(2, ending="open"))
        buffer.update_priorities(np.arange(2), np.array(errors))
    first = here.sample_at(np.array([0.1, 0.9]), share=0.5)
    second = there.sample_at(np.array([0.1, 0.9]), share=0.5)
    np.testing.assert_allclose(first.importance_weights, [10.0, 2.5], rtol=1e-5)
    np.testing.assert_allclose(second.importance_weights, [5.0, 10 / 3], rtol=1e-5)
    np.testing.assert_allclose(join_batches([first, second]).importance_weights, [1, 0.25, 0.5, 1 / 3], rtol=1e-5)


def test_states_of_parts_are_one_and_come_apart_again():
    states = [{"kinds": np.array([0, 1]), "rng": np.array([5])}, {"kinds": np.array([1]), "rng": np.array([6])}]
    joined = join_states(states)
    assert sorted(joined) == ["shard0.kinds", "shard0.rng", "shard1.kinds", "shard1.rng"]
    for state, again in zip(states, split_state(joined, 2), strict=True):
        assert state.keys() == again.keys()
        assert all(np.array_equal(state[name], again[name]) for name in state)


def test_a_state_of_another_number_of_parts_is_refused_in_a_sentence():
    parts = [make_buffer().state_dict() for _ in range(2)]
    told = r"replay.shards: the checkpoint's buffer has 2, got {}; resume with replay.shards 2"
    with pytest.raises(ValueError, match=told.format(3)):
        split_state(join_states(parts), 3)
    with pytest.raises(ValueError, match=told.format(1)):
        make_buffer().load_state_dict(join_states(parts))
    with pytest.raises(ValueError, match="buffer has 1, got 2"):
        split_state(parts[0], 2)

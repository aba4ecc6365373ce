"""Priorities through a buffer's whole life, against a dictionary that is told of every change."""

import numpy as np
import pytest
from reference.naive_priorities import NaivePriorities
from reference.naive_replay import RecordedGame, random_game
from reference.replay_buffers import all_indices, make_buffer

from muzero_ray.core.types import ReanalyzeResult


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

"""Reanalysis answers for the positions asked about, with the weights it was given."""

import numpy as np
import pytest
from reference.fake_planner import FakeModel, FakePlanner, policy_of

from muzero_ray.core.types import ReanalyzeRequest
from muzero_ray.play.reanalyze import Reanalyzer

REQUEST = ReanalyzeRequest(
    indices=np.array([40, 7, 9]),
    observations=np.array([[1.0], [4.0], [2.0]], np.float32),
    legal_actions=np.array([[True, True, True], [False, True, True], [True, False, False]]),
)


def test_every_answer_belongs_to_its_position() -> None:
    planner = FakePlanner()
    reanalyzer = Reanalyzer(planner, FakeModel(), num_simulations=9, noise_scale=0.5, rng=np.random.default_rng(0))
    reanalyzer.set_weights({"scale": np.array([10.0])}, 3)
    result = reanalyzer.reanalyze(REQUEST)
    np.testing.assert_array_equal(result.indices, REQUEST.indices)
    wanted = [policy_of(*pair) for pair in zip(REQUEST.observations, REQUEST.legal_actions, strict=True)]
    np.testing.assert_allclose(result.search_policies, wanted, rtol=1e-6)
    np.testing.assert_allclose(result.root_values, [10.5, 40.5, 20.5])
    assert result.weights_version == 3
    assert result.seconds > 0
    assert (planner.calls[0]["num_simulations"], float(planner.calls[0]["noise_scale"])) == (9, 0.5)


def test_newer_weights_are_used_from_the_next_request_on() -> None:
    reanalyzer = Reanalyzer(FakePlanner(), FakeModel(), rng=np.random.default_rng(0))
    for version, scale in ((0, 1.0), (1, 2.0)):
        reanalyzer.set_weights({"scale": np.array([scale])}, version)
        result = reanalyzer.reanalyze(REQUEST)
        np.testing.assert_allclose(result.root_values, scale * np.array([1.0, 4.0, 2.0]) + 0.5)
        assert result.weights_version == version


def test_reanalysing_without_weights_is_refused() -> None:
    reanalyzer = Reanalyzer(FakePlanner(), FakeModel(), rng=np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="call set_weights before reanalyze"):
        reanalyzer.reanalyze(REQUEST)

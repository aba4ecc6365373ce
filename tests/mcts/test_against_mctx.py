"""Both searches against DeepMind's mctx on random tables: equal to the last visit.

Both sides compute in double precision, where ties between random numbers are improbable, from the same float32 tables.
"""

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("mctx")

from reference import mctx_runner
from reference.fake_models import TableModel, random_table

from muzero_ray.mcts.gumbel import gumbel_search
from muzero_ray.mcts.puct import muzero_search

pytestmark = pytest.mark.mctx

ROWS = 60
"""Cases of each setting below: rows with their own root, legal actions and noise."""


@dataclass(frozen=True)
class Setting:
    """Sizes and options of a batch of cases."""

    num_actions: int
    num_simulations: int
    discounts: tuple[float, ...]
    logit_scale: float
    max_considered_actions: int
    c_scale: float


SETTINGS = {
    "one player": Setting(4, 32, (0.997,), 1.0, 16, 0.1),
    "any order of turns, and ends": Setting(9, 50, (-1.0, 1.0, 0.0), 2.0, 5, 0.1),
    "two players, deep": Setting(3, 80, (-1.0,), 4.0, 2, 1.0),
    "fewer simulations than actions": Setting(20, 6, (0.9,), 1.0, 16, 1.0),
}


def random_cases(setting: Setting, seed: int) -> tuple[TableModel, np.ndarray, np.ndarray]:
    """A table, root states, and rows of legal actions that differ, from one action to all."""
    rng = np.random.default_rng(seed)
    num_actions = setting.num_actions
    model = random_table(rng, 200, num_actions, discounts=setting.discounts, logit_scale=setting.logit_scale)
    legal = rng.random((ROWS, num_actions)) < rng.choice([0.2, 0.6, 1.0], size=(ROWS, 1))
    legal[np.arange(ROWS), rng.integers(num_actions, size=ROWS)] = True
    return model, rng.integers(200, size=ROWS), legal


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_gumbel_search_equals_mctx(setting):
    model, states, legal = random_cases(setting, seed=setting.num_actions)
    options = {
        "num_simulations": setting.num_simulations,
        "max_considered_actions": setting.max_considered_actions,
        "c_visit": 50.0,
        "c_scale": setting.c_scale,
    }

    theirs = mctx_runner.run_gumbel(model, states, legal, **options)
    ours = gumbel_search(
        model,
        states,
        legal,
        rng=np.random.default_rng(0),
        gumbel_scale=1.0,
        q_normalization="node",
        q_floor=0.0,
        gumbel=theirs["gumbel"],
        **options,
    )

    np.testing.assert_array_equal(ours.visit_counts, theirs["visit_counts"])
    np.testing.assert_array_equal(ours.actions, theirs["actions"])
    np.testing.assert_allclose(ours.search_policies, theirs["search_policies"], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(ours.root_values, theirs["root_values"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_puct_search_equals_mctx(setting):
    model, states, legal = random_cases(setting, seed=100 + setting.num_actions)
    options = {"num_simulations": setting.num_simulations, "pb_c_init": 1.25, "pb_c_base": 500.0}

    theirs = mctx_runner.run_muzero(model, states, legal, **options)
    ours = muzero_search(
        model,
        states,
        legal,
        rng=np.random.default_rng(0),
        temperature=0.0,
        exploration_fraction=0.0,
        dirichlet_alpha=0.3,
        q_normalization="node",
        q_floor=0.0,
        **options,
    )

    np.testing.assert_array_equal(ours.visit_counts, theirs["visit_counts"])
    np.testing.assert_allclose(ours.search_policies, theirs["search_policies"], rtol=1e-6)
    np.testing.assert_allclose(ours.root_values, theirs["root_values"], rtol=1e-6, atol=1e-6)

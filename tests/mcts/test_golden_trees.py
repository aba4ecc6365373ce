"""Both searches against stored results of DeepMind's mctx: made by `golden/make_mctx_golden.py`."""

from pathlib import Path

import numpy as np
from reference.fake_models import TableModel

from muzero_ray.mcts.gumbel import gumbel_search
from muzero_ray.mcts.puct import muzero_search

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name):
    golden = dict(np.load(GOLDEN / name))
    model = TableModel(**{field: golden[field] for field in TableModel.__dataclass_fields__})
    return model, golden


def test_gumbel_search_reproduces_the_golden_search_of_mctx():
    model, golden = load("mctx_gumbel.npz")
    found = gumbel_search(
        model,
        golden["states"],
        golden["legal_actions"],
        num_simulations=40,
        rng=np.random.default_rng(0),
        max_considered_actions=4,
        gumbel_scale=1.0,
        c_visit=50.0,
        c_scale=0.1,
        q_normalization="node",
        q_floor=0.0,
        gumbel=golden["gumbel"],
    )
    np.testing.assert_array_equal(found.visit_counts, golden["visit_counts"])
    np.testing.assert_array_equal(found.actions, golden["actions"])
    np.testing.assert_allclose(found.search_policies, golden["search_policies"], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.root_values, golden["root_values"], rtol=1e-6)


def test_puct_search_reproduces_the_golden_search_of_mctx():
    model, golden = load("mctx_muzero.npz")
    found = muzero_search(
        model,
        golden["states"],
        golden["legal_actions"],
        num_simulations=40,
        rng=np.random.default_rng(0),
        temperature=0.0,
        exploration_fraction=0.0,
        dirichlet_alpha=0.3,
        pb_c_init=1.25,
        pb_c_base=19652.0,
        q_normalization="node",
        q_floor=0.0,
    )
    np.testing.assert_array_equal(found.visit_counts, golden["visit_counts"])
    np.testing.assert_allclose(found.search_policies, golden["search_policies"], rtol=1e-6)
    np.testing.assert_allclose(found.root_values, golden["root_values"], rtol=1e-6)

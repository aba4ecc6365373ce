"""What holds of both searches with every normalisation, on random tables: the naive twin, and properties."""

import numpy as np
import pytest
from reference.fake_models import TableModel, random_table
from reference.naive_search import NaiveSearch
from reference.searches import search

from muzero_ray.mcts.model import SearchModel, StepOutput
from muzero_ray.mcts.tree import Tree

ROWS, ACTIONS, SIMULATIONS = 8, 5, 24
EVERY_SEARCH = pytest.mark.parametrize("algorithm", ["gumbel", "muzero"])
EVERY_RANGE = pytest.mark.parametrize("normalization", ["tree", "bounds", "node"])


@pytest.fixture(params=[(0.997,), (-1.0, 1.0, 0.0)], ids=["one player", "two players"])
def cases(request):
    """A random table, and rows with their own roots, legal actions and noise."""
    rng = np.random.default_rng(len(request.param))
    model = random_table(rng, 80, ACTIONS, discounts=request.param)
    legal = rng.random((ROWS, ACTIONS)) < 0.7
    legal[np.arange(ROWS), rng.integers(ACTIONS, size=ROWS)] = True
    legal[0] = True
    gumbel = rng.gumbel(size=(ROWS, ACTIONS))
    dirichlet = np.where(legal, rng.gamma(0.5, size=(ROWS, ACTIONS)), 0.0)
    dirichlet /= dirichlet.sum(axis=1, keepdims=True)
    return model, rng.integers(80, size=ROWS), legal, {"gumbel": gumbel, "muzero": dirichlet}


@EVERY_RANGE
def test_gumbel_search_equals_the_naive_search(cases, normalization):
    model, states, legal, noise = cases
    found = search("gumbel", model, states, legal, noise=noise["gumbel"], normalization=normalization)
    for row in range(ROWS):
        twin = NaiveSearch(model, states[row], legal[row], SIMULATIONS, normalization, bounds=(-3.0, 3.0))
        wanted = twin.run_gumbel(noise["gumbel"][row], 4, 50.0, 0.1)
        assert found.visit_counts[row].tolist() == wanted.visits
        assert found.actions[row] == wanted.action
        np.testing.assert_allclose(found.search_policies[row], wanted.policy, rtol=1e-5, atol=1e-10)
        np.testing.assert_allclose(found.root_values[row], wanted.root_value, rtol=1e-5)


@EVERY_RANGE
def test_puct_search_equals_the_naive_search(cases, normalization):
    model, states, legal, noise = cases
    found = search("muzero", model, states, legal, noise=noise["muzero"], normalization=normalization)
    for row in range(ROWS):
        twin = NaiveSearch(model, states[row], legal[row], SIMULATIONS, normalization, bounds=(-3.0, 3.0))
        visits, root_value = twin.run_puct(noise["muzero"][row], 0.25)
        assert found.visit_counts[row].tolist() == visits
        np.testing.assert_allclose(found.search_policies[row], np.array(visits) / SIMULATIONS, rtol=1e-6)
        np.testing.assert_allclose(found.root_values[row], root_value, rtol=1e-5)


@EVERY_SEARCH
@EVERY_RANGE
def test_visits_sum_to_the_simulations_and_illegal_actions_get_none(cases, algorithm, normalization):
    model, states, legal, _ = cases
    found = search(algorithm, model, states, legal, normalization=normalization)
    assert (found.visit_counts.sum(axis=1) == SIMULATIONS).all()
    assert (found.visit_counts[~legal] == 0).all()
    assert (found.search_policies[~legal] == 0).all()
    np.testing.assert_allclose(found.search_policies.sum(axis=1), 1.0, rtol=1e-6)
    assert legal[np.arange(ROWS), found.actions].all()
    np.testing.assert_array_equal(found.raw_values, model.values[states])


@EVERY_SEARCH
def test_a_row_does_not_depend_on_its_batch(cases, algorithm):
    model, states, legal, noise = cases
    together = search(algorithm, model, states, legal, noise=noise[algorithm])
    for row in range(ROWS):
        one = slice(row, row + 1)
        alone = search(algorithm, model, states[one], legal[one], noise=noise[algorithm][one])
        np.testing.assert_array_equal(alone.visit_counts[0], together.visit_counts[row])
        np.testing.assert_array_equal(alone.search_policies[0], together.search_policies[row])
        assert alone.actions[0] == together.actions[row]


@EVERY_SEARCH
def test_permuting_the_batch_permutes_the_result(cases, algorithm):
    model, states, legal, noise = cases
    order = np.random.default_rng(5).permutation(ROWS)
    before = search(algorithm, model, states, legal, noise=noise[algorithm])
    after = search(algorithm, model, states[order], legal[order], noise=noise[algorithm][order])
    np.testing.assert_array_equal(after.visit_counts, before.visit_counts[order])
    np.testing.assert_array_equal(after.root_values, before.root_values[order])


@EVERY_SEARCH
@EVERY_RANGE
def test_relabelling_the_actions_relabels_the_visits(cases, algorithm, normalization):
    model, states, legal, noise = cases
    order = np.random.default_rng(6).permutation(ACTIONS)
    options = {"normalization": normalization}
    before = search(algorithm, model, states, legal, noise=noise[algorithm], **options)
    after = search(
        algorithm, model.relabelled(order), states, legal[:, order], noise=noise[algorithm][:, order], **options
    )
    np.testing.assert_array_equal(after.visit_counts, before.visit_counts[:, order])
    np.testing.assert_array_equal(order[after.actions], before.actions)


@EVERY_SEARCH
@pytest.mark.parametrize("normalization", ["tree", "node"])
@pytest.mark.parametrize("factor", [0.25, 20.0])
def test_visits_do_not_change_when_rewards_and_values_are_scaled(cases, algorithm, normalization, factor):
    model, states, legal, noise = cases
    before = search(algorithm, model, states, legal, noise=noise[algorithm], normalization=normalization)
    scaled = search(algorithm, model.scaled(factor), states, legal, noise=noise[algorithm], normalization=normalization)
    np.testing.assert_array_equal(scaled.visit_counts, before.visit_counts)
    np.testing.assert_allclose(scaled.root_values, factor * before.root_values, rtol=1e-5)


@EVERY_SEARCH
def test_visits_do_not_change_when_the_bounds_scale_with_the_values(cases, algorithm):
    model, states, legal, noise = cases
    options = {"noise": noise[algorithm], "normalization": "bounds"}
    before = search(algorithm, model, states, legal, value_bounds=(-3.0, 3.0), **options)
    scaled = search(algorithm, model.scaled(20.0), states, legal, value_bounds=(-60.0, 60.0), **options)
    np.testing.assert_array_equal(scaled.visit_counts, before.visit_counts)


@EVERY_SEARCH
def test_values_within_the_floor_do_not_decide(algorithm):
    rng = np.random.default_rng(3)
    model = random_table(rng, 80, ACTIONS, discounts=(1.0,)).scaled(1e-6)
    states, legal = rng.integers(80, size=ROWS), np.ones((ROWS, ACTIONS), bool)
    flat = search(algorithm, model, states, legal, scale=0.0, q_floor=1.0)
    without_values = search(algorithm, model.scaled(0.0), states, legal, scale=0.0, q_floor=1.0)
    stretched = search(algorithm, model, states, legal, scale=0.0, q_floor=0.0)
    np.testing.assert_array_equal(flat.visit_counts, without_values.visit_counts)
    assert (stretched.visit_counts != flat.visit_counts).any()


@EVERY_SEARCH
def test_a_used_tree_gives_the_same_search_as_a_new_one(cases, algorithm):
    model, states, legal, noise = cases
    tree = Tree(ROWS, SIMULATIONS + 1, ACTIONS)
    first = search(algorithm, model, states, legal, noise=noise[algorithm], tree=tree)
    kept = first.visit_counts.copy(), first.search_policies.copy(), first.root_values.copy()
    search(algorithm, model, states[::-1], legal[::-1], noise=noise[algorithm][::-1], tree=tree)
    again = search(algorithm, model, states, legal, noise=noise[algorithm], tree=tree)
    for mine, fresh, repeated in zip(
        kept,
        (first.visit_counts, first.search_policies, first.root_values),
        (again.visit_counts, again.search_policies, again.root_values),
        strict=True,
    ):
        np.testing.assert_array_equal(fresh, mine)
        np.testing.assert_array_equal(repeated, mine)


@EVERY_SEARCH
def test_noise_of_scale_zero_leaves_nothing_random(cases, algorithm):
    model, states, legal, _ = cases
    found = [search(algorithm, model, states, legal, scale=0.0, rng=np.random.default_rng(seed)) for seed in (1, 2)]
    np.testing.assert_array_equal(found[0].visit_counts, found[1].visit_counts)
    np.testing.assert_array_equal(found[0].actions, found[1].actions)


@EVERY_SEARCH
def test_every_game_has_the_noise_of_its_own_scale(cases, algorithm):
    model, states, legal, noise = cases
    scales = np.linspace(0.0, 1.0, ROWS)
    ladder = search(algorithm, model, states, legal, noise=noise[algorithm], scale=scales)
    for row in range(ROWS):
        alike = search(algorithm, model, states, legal, noise=noise[algorithm], scale=scales[row])
        np.testing.assert_array_equal(ladder.visit_counts[row], alike.visit_counts[row])


@pytest.mark.parametrize(
    ("normalization", "third_value", "log_ratio"),
    [
        ("bounds", 0.9, 0.51),  # 5.1 * (0.5 - 0.3) / 2, whatever the third action is worth to the opponent
        ("bounds", -0.2, 0.51),
        ("bounds", 9.0, 0.51),  # nor what a model claims that no position is worth
        ("tree", 0.9, 5.1 * 0.2 / 1.4),  # Q spans -0.9 to 0.5
        ("tree", -0.2, 5.1 * 0.2 / 0.5),  # 0 (the root's own value) to 0.5
    ],
)
def test_with_bounds_an_opponents_subtree_does_not_change_how_other_actions_compare(
    normalization, third_value, log_ratio
):
    # Three moves, after which the opponent has -0.5, -0.3 or `third_value` for ever: Q = 0.5, 0.3, -third_value.
    # Each is visited once, so that sigma weighs Q by (50 + 1) * 0.1 = 5.1 / range.
    model = TableModel(
        next_states=np.array([[1, 2, 3], [1, 1, 1], [2, 2, 2], [3, 3, 3]]),
        rewards=np.zeros((4, 3)),
        discounts=np.array([[-1.0] * 3] + [[1.0] * 3] * 3),
        values=np.array([0.0, -0.5, -0.3, third_value]),
        policy_logits=np.zeros((4, 3)),
    )
    found = search(
        "gumbel",
        model,
        np.zeros(1, int),
        np.ones((1, 3), bool),
        scale=0.0,
        num_simulations=3,
        normalization=normalization,
        value_bounds=(-1.0, 1.0),
    )
    assert found.visit_counts.tolist() == [[1, 1, 1]]
    policy = found.search_policies[0]
    assert np.log(policy[0] / policy[1]) == pytest.approx(log_ratio, rel=1e-5)


class Refilling:
    """Answers as another model does, but always with the same `StepOutput`, whose arrays it fills anew."""

    def __init__(self, model: SearchModel, dtype: type) -> None:
        self.model = model
        self.initial = model.initial
        self.step = StepOutput(*(np.empty(shape, dtype) for shape in (ROWS, ROWS, (ROWS, ACTIONS), ROWS)))

    def recurrent(self, parent_nodes, actions, new_node):
        step = self.model.recurrent(parent_nodes, actions, new_node)
        for name, array in vars(self.step).items():
            array[:] = getattr(step, name)
        return self.step


@EVERY_SEARCH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_may_answer_with_the_same_object_again(cases, algorithm, dtype):
    model, states, legal, noise = cases
    wanted = search(algorithm, model, states, legal, noise=noise[algorithm])
    found = search(algorithm, Refilling(model, dtype), states, legal, noise=noise[algorithm])
    np.testing.assert_array_equal(found.visit_counts, wanted.visit_counts)
    np.testing.assert_array_equal(found.search_policies, wanted.search_policies)
    np.testing.assert_array_equal(found.root_values, wanted.root_values)

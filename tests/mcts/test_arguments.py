"""What a search refuses, and what it says then."""

import numpy as np
import pytest
from reference.fake_models import ConstantModel
from reference.searches import search

from muzero_ray.mcts.model import RootOutput, StepOutput
from muzero_ray.mcts.tree import Tree

EVERY_SEARCH = pytest.mark.parametrize("algorithm", ["gumbel", "muzero"])
OBSERVATIONS, LEGAL = np.zeros((3, 1)), np.ones((3, 4), bool)


class Spoilt(ConstantModel):
    """Says something else in one field of one node."""

    def __init__(self, node, field, value, row=None):
        super().__init__(4)
        self.node, self.field, self.wrong, self.row = node, field, value, row

    def spoil(self, output, kind):
        fields = {name: array.copy() for name, array in vars(output).items()}
        if self.row is None:
            fields[self.field] = self.wrong
        else:
            fields[self.field][self.row] = self.wrong
        return kind(**fields)

    def initial(self, observations, num_nodes):
        root = super().initial(observations, num_nodes)
        return self.spoil(root, RootOutput) if self.node == 0 else root

    def recurrent(self, parent_nodes, actions, new_node):
        return self.spoil(self.step, StepOutput) if self.node == new_node else self.step


@EVERY_SEARCH
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["values", "policy_logits"])
def test_a_root_that_is_not_finite_is_refused_with_field_and_row(algorithm, field, bad):
    with pytest.raises(ValueError, match=rf"RootOutput.{field} must be finite.* row 1"):
        search(algorithm, Spoilt(0, field, bad, row=1), OBSERVATIONS, LEGAL)


@EVERY_SEARCH
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["rewards", "values", "policy_logits", "discounts"])
@pytest.mark.parametrize("node", [1, 7, 24])
def test_a_step_that_is_not_finite_is_refused_with_field_row_and_node(algorithm, field, bad, node):
    with pytest.raises(ValueError, match=rf"StepOutput.{field} must be finite.* row 2 at node {node}"):
        search(algorithm, Spoilt(node, field, bad, row=2), OBSERVATIONS, LEGAL)


@EVERY_SEARCH
@pytest.mark.parametrize(("node", "kind"), [(0, "RootOutput"), (3, "StepOutput")])
def test_an_output_of_another_shape_is_refused(algorithm, node, kind):
    with pytest.raises(ValueError, match=rf"{kind}.policy_logits must have shape \(3, 4\), got \(3, 5\)"):
        search(algorithm, Spoilt(node, "policy_logits", np.zeros((3, 5), np.float32)), OBSERVATIONS, LEGAL)


@EVERY_SEARCH
def test_outputs_that_are_slices_of_a_bigger_array_are_read_correctly(algorithm):
    logits = np.zeros((3, 9))[:, 2:6]
    logits[:] = [0.0, 1.0, 2.0, 3.0]
    sliced = search(algorithm, Spoilt(3, "policy_logits", logits), OBSERVATIONS, LEGAL)
    whole = search(algorithm, Spoilt(3, "policy_logits", np.float32(logits)), OBSERVATIONS, LEGAL)
    np.testing.assert_array_equal(sliced.visit_counts, whole.visit_counts)


@EVERY_SEARCH
def test_a_row_without_legal_actions_is_refused_before_the_model_is_asked(algorithm):
    legal = LEGAL.copy()
    legal[1] = False
    with pytest.raises(ValueError, match=r"row 1 has no legal action"):
        search(algorithm, None, OBSERVATIONS, legal)


@EVERY_SEARCH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_simulations": 0}, "num_simulations must be at least 1, got 0"),
        ({"normalization": "local"}, "q_normalization must be one of tree, bounds, node"),
        ({"normalization": "bounds", "value_bounds": None}, "needs value_bounds"),
        ({"normalization": "bounds", "value_bounds": (1.0, 1.0)}, "low < high"),
        ({"q_floor": -1.0}, "q_floor must not be negative"),
        ({"tree": Tree(3, 9, 4)}, r"tree must have shape \(B, N, A\) = \(3, 25, 4\)"),
        ({"scale": np.zeros(2)}, r"must be a number or have shape \(3,\)"),
        ({"scale": -1.0}, "must be finite and lie between 0 and"),
        ({"scale": np.inf}, "must be finite and lie between 0 and"),
    ],
)
def test_unusable_options_are_refused(algorithm, options, message):
    with pytest.raises(ValueError, match=message):
        search(algorithm, ConstantModel(4), OBSERVATIONS, LEGAL, **options)


def test_options_of_one_search_are_checked_too():
    with pytest.raises(ValueError, match="max_considered_actions must be at least 1"):
        search("gumbel", ConstantModel(4), OBSERVATIONS, LEGAL, max_considered_actions=0)
    with pytest.raises(ValueError, match="exploration_fraction must be finite and lie between 0 and 1"):
        search("muzero", ConstantModel(4), OBSERVATIONS, LEGAL, exploration_fraction=1.5)
    with pytest.raises(ValueError, match="dirichlet_alpha must be positive"):
        search("muzero", ConstantModel(4), OBSERVATIONS, LEGAL, dirichlet_alpha=0.0)


@pytest.mark.parametrize(
    ("observations", "legal", "message"),
    [
        (OBSERVATIONS, LEGAL.astype(int), "legal_actions must be bool"),
        (OBSERVATIONS[:2], LEGAL, "same B >= 1 rows, got 2 and 3"),
        (OBSERVATIONS[:0], LEGAL[:0], "same B >= 1 rows"),
    ],
)
def test_positions_that_do_not_fit_together_are_refused(observations, legal, message):
    with pytest.raises(ValueError, match=message):
        search("gumbel", ConstantModel(4), observations, legal)

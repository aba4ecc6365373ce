"""Runs DeepMind's mctx on a `TableModel`, in double precision and without random tie-breaks.

For the comparison in `mcts/test_against_mctx.py` and for making the golden files. Needs `pip install -e .[mctx]`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

import jax
import jax.numpy as jnp
import mctx
import numpy as np
from reference.fake_models import TableModel

Result = dict[str, np.ndarray]


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Doubles, so that rounding decides nothing, and no noise of 1e-7 on the scores of `muzero_policy`."""
    with jax.enable_x64(True), mock.patch.object(jax.random, "uniform", lambda key, shape=(), **_: jnp.zeros(shape)):
        yield


def run_gumbel(
    model: TableModel,
    states: np.ndarray,
    legal_actions: np.ndarray,
    *,
    num_simulations: int,
    max_considered_actions: int,
    c_visit: float,
    c_scale: float,
    gumbel_scale: float = 1.0,
    seed: int = 0,
) -> Result:
    """Returns visit_counts, search_policies, root_values, actions and the `gumbel` noise that mctx drew."""
    with exact_arithmetic():
        tables, root = _root(model, states)
        output = mctx.gumbel_muzero_policy(
            tables,
            jax.random.PRNGKey(seed),
            root,
            _recurrent,
            num_simulations,
            invalid_actions=jnp.asarray(~legal_actions, jnp.float64),
            qtransform=partial(mctx.qtransform_completed_by_mix_value, value_scale=c_scale, maxvisit_init=c_visit),
            max_num_considered_actions=max_considered_actions,
            gumbel_scale=gumbel_scale,
        )
        return _result(output) | {"gumbel": np.asarray(output.search_tree.extra_data.root_gumbel)}


def run_muzero(
    model: TableModel,
    states: np.ndarray,
    legal_actions: np.ndarray,
    *,
    num_simulations: int,
    pb_c_init: float = 1.25,
    pb_c_base: float = 19652.0,
    seed: int = 0,
) -> Result:
    """Returns visit_counts, search_policies, root_values and actions; no Dirichlet noise, temperature 0."""
    with exact_arithmetic():
        tables, root = _root(model, states)
        output = mctx.muzero_policy(
            tables,
            jax.random.PRNGKey(seed),
            root,
            _recurrent,
            num_simulations,
            invalid_actions=jnp.asarray(~legal_actions, jnp.float64),
            dirichlet_fraction=0.0,
            pb_c_init=pb_c_init,
            pb_c_base=pb_c_base,
            temperature=0.0,
        )
        return _result(output)


def _root(model: TableModel, states: np.ndarray) -> tuple[dict[str, jax.Array], mctx.RootFnOutput]:
    tables = {
        "next_states": jnp.asarray(model.next_states),
        "rewards": jnp.asarray(model.rewards, jnp.float64),
        "discounts": jnp.asarray(model.discounts, jnp.float64),
        "values": jnp.asarray(model.values, jnp.float64),
        "policy_logits": jnp.asarray(model.policy_logits, jnp.float64),
    }
    states = jnp.asarray(states)
    root = mctx.RootFnOutput(
        prior_logits=tables["policy_logits"][states], value=tables["values"][states], embedding=states
    )
    return tables, root


def _recurrent(tables, rng_key, action, state):
    reached = tables["next_states"][state, action]
    output = mctx.RecurrentFnOutput(
        reward=tables["rewards"][state, action],
        discount=tables["discounts"][state, action],
        prior_logits=tables["policy_logits"][reached],
        value=tables["values"][reached],
    )
    return output, reached


def _result(output: mctx.PolicyOutput) -> Result:
    summary = output.search_tree.summary()
    return {
        "actions": np.asarray(output.action),
        "search_policies": np.asarray(output.action_weights),
        "visit_counts": np.asarray(summary.visit_counts).astype(np.int64),
        "root_values": np.asarray(summary.value),
    }

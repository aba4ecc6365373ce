"""Makes the golden searches of DeepMind's mctx that `mcts/test_golden_trees.py` reproduces without mctx.

    PYTHONPATH=tests python tests/golden/make_mctx_golden.py

Made with mctx 0.0.71 in double precision. Every file holds a random table, eight rows with different roots and legal
actions, and what mctx found.
"""

from pathlib import Path

import numpy as np
from reference import mctx_runner
from reference.fake_models import TableModel, random_table

FOLDER = Path(__file__).parent
NUM_SIMULATIONS = 40
MAX_CONSIDERED_ACTIONS = 4


def main() -> None:
    rng = np.random.default_rng(2022)
    model = random_table(rng, 60, 6, discounts=(-1.0, -1.0, 1.0, 0.0), logit_scale=1.5)
    states = rng.integers(60, size=8)
    legal = rng.random((8, 6)) < 0.7
    legal[0] = True
    legal[1] = np.arange(6) == 3
    legal[np.arange(8), rng.integers(6, size=8)] = True

    gumbel = mctx_runner.run_gumbel(
        model,
        states,
        legal,
        num_simulations=NUM_SIMULATIONS,
        max_considered_actions=MAX_CONSIDERED_ACTIONS,
        c_visit=50.0,
        c_scale=0.1,
    )
    save("mctx_gumbel", model, states, legal, gumbel)
    save(
        "mctx_muzero",
        model,
        states,
        legal,
        mctx_runner.run_muzero(model, states, legal, num_simulations=NUM_SIMULATIONS),
    )


def save(name: str, model: TableModel, states: np.ndarray, legal: np.ndarray, found: mctx_runner.Result) -> None:
    np.savez_compressed(FOLDER / f"{name}.npz", states=states, legal_actions=legal, **vars_of(model), **found)


def vars_of(model: TableModel) -> dict[str, np.ndarray]:
    """The table's arrays by name, without what a search has left in it."""
    return {name: getattr(model, name) for name in TableModel.__dataclass_fields__}


if __name__ == "__main__":
    main()

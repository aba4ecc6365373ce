"""A batch says whose turn comes next in full, or not at all."""

from dataclasses import replace

import numpy as np
import pytest
from reference.batches import random_batch

BATCH = random_batch(np.random.default_rng(0))  # B = 6, K = 3


def test_a_batch_may_tell_turns_or_not():
    BATCH.check()
    replace(BATCH, same_player=None, turn_mask=None).check()


@pytest.mark.parametrize("name", ["same_player", "turn_mask"])
def test_turns_have_one_entry_per_action(name):
    with pytest.raises(ValueError, match=rf"{name} must have shape \(6, 3\), got \(6, 4\)"):
        replace(BATCH, **{name: np.zeros((6, 4), np.float32)}).check()


@pytest.mark.parametrize("name", ["same_player", "turn_mask"])
def test_turns_and_their_mask_come_together(name):
    with pytest.raises(ValueError, match="same_player and turn_mask must both be given, or neither"):
        replace(BATCH, **{name: None}).check()

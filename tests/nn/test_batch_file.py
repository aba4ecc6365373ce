import dataclasses

import numpy as np
import pytest
from reference.batches import random_batch

from muzero_ray.nn.batch_file import load_batch, save_batch


@pytest.mark.parametrize("with_observations", [True, False])
def test_a_batch_comes_back_as_it_was(tmp_path, with_observations):
    batch = random_batch(np.random.default_rng(0))
    batch.target_values[0, 0] = np.nan  # the usual reason to keep one
    if not with_observations:
        batch = dataclasses.replace(batch, next_observations=None, observation_mask=None)
    path = tmp_path / "batch_of_step_7"
    save_batch(path, batch)
    loaded = load_batch(path)
    for field in dataclasses.fields(batch):
        saved, read = getattr(batch, field.name), getattr(loaded, field.name)
        assert (saved is None) == (read is None)
        if saved is not None:
            np.testing.assert_array_equal(read, saved)
            assert read.dtype == saved.dtype


def test_a_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(ValueError, match="fields of a batch"):
        load_batch(tmp_path / "other.npz")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    np.savez(tmp_path / "pickled.npz", observations=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_batch(tmp_path / "pickled.npz")

"""What the benchmark of the trainer counts, and that it runs where there is no GPU."""

import json
import sys

import numpy as np
import pytest
import torch
import trainer

from muzero_ray.core.config import NetworkConfig


def test_operations_are_those_of_products_forwards_and_backwards():
    network = NetworkConfig(latent_size=4, hidden_size=8, head_size=3)
    # A product of n to m numbers is 2 n m operations, and as many for the gradient of its weights and of its input; the
    # first layer's input, 4 * 96 * 96 numbers, needs none. Heads of 41 + 25 + 18 outputs read all six states.
    representation = 2 * 36864 * 8 * 2 + 2 * 8 * 8 * 3 + 2 * 8 * 4 * 3
    dynamics = 5 * (2 * 4 * 8 * 3 + 2 * 8 * 4 * 3)
    heads = 6 * (2 * 4 * 3 * 3 + 2 * 3 * 84 * 3)
    assert trainer.flops_per_window(network, consistency=0.0) == representation + dynamics + heads


def test_shares_are_those_of_the_plain_learner_and_of_the_matrix_product():
    rows = [{"B": 8, "how": "float32 eager", "windows/s": [50.0, 40.0, 60.0]}]
    trainer.add_shares(rows, seconds_per_window=0.002)
    assert (rows[0]["times plain"], rows[0]["share of matrix rate"]) == (1.0, 0.1)
    rows.append({"B": 8, "how": "bfloat16 compiled", "windows/s": [125.0, 120.0, 130.0]})
    trainer.add_shares(rows, seconds_per_window=0.002)
    assert (rows[1]["times plain"], rows[1]["share of matrix rate"]) == (2.5, 0.25)
    rows.append({"B": 16, "how": "bfloat16 compiled", "windows/s": [125.0, 120.0, 130.0]})
    trainer.add_shares(rows, seconds_per_window=0.002)
    assert rows[2]["times plain"] is None  # nothing plain was measured with this batch


def test_batches_are_fed_in_turn_two_ahead():
    class Learner:
        staged: list = []  # noqa: RUF012

        def stage(self, batch):
            self.staged.append(batch)
            return batch

    feed = trainer.fed_ahead(Learner(), ["a", "b", "c"])
    taken = [next(feed) for _ in range(4)]
    assert taken == ["a", "b", "a", "b"]
    assert Learner.staged == ["a", "b", "a", "b", "c", "a"]


def test_frames_are_stacked_as_the_network_sees_them():
    batch = trainer.random_frames(np.random.default_rng(0), 3)
    batch.check()
    assert batch.observations.shape == (3, *trainer.SPEC.input_shape)
    assert batch.next_observations.shape == (3, 5, *trainer.SPEC.input_shape)


def test_it_runs_without_a_gpu_and_leaves_out_bfloat16(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["trainer.py", "--device", "cpu", "--batch-sizes", "2", "--repeats", "1",
                                      "--seconds", "0.01", "--variants", "float32 eager", "bfloat16 eager",
                                      "--json", str(tmp_path / "found.json")])  # fmt: skip
    monkeypatch.setattr(trainer, "matrix_rate", lambda device: 1e10)
    threads = torch.get_num_threads()
    trainer.main()
    torch.set_num_threads(threads)
    told = capsys.readouterr().out
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert (row["B"], row["how"], row["times plain"]) == (2, "float32 eager", 1.0)
    assert row["windows/s"][0] == pytest.approx(np.median(row["windows/s"]))
    assert 0 < row["share of matrix rate"] < 1
    assert "float32 eager" in told
    assert json.loads(told.splitlines()[-1])["rows"] == [row]


def test_what_does_not_fit_into_memory_is_a_line_of_its_own(monkeypatch):
    def full(*_, **__):
        raise trainer.OutOfGpuMemory("training step 0 does not fit")

    monkeypatch.setattr(trainer, "Learner", full)
    row = {"B": 4, "how": "float32 eager", **trainer.measure(None, torch.device("cpu"), [], None)}
    trainer.add_shares([row], 0.1)
    assert trainer.line_of(row).split() == ["4", "float32", "eager", "training", "step", "0", "does", "not", "fit"]

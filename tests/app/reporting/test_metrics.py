"""TensorBoard's files, read back with TensorBoard's own reader."""

import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from muzero_ray.app.reporting import metrics
from muzero_ray.app.reporting.curve import EvaluationPoint
from muzero_ray.app.reporting.metrics import METRICS, MetricsWriter
from muzero_ray.app.saving.files import PatientFile
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.config import Config
from muzero_ray.core.reports import Strength


def read(run: RunFolder) -> EventAccumulator:
    return EventAccumulator(str(run.path)).Reload()


def test_scalars_lie_on_env_steps_and_training_steps_and_time_are_scalars_too(tmp_path):
    run = RunFolder(tmp_path)
    writer = MetricsWriter(run)
    writer.write(512, {"progress/training_steps": 64, "progress/seconds": 3.5, "loss/total": 1.25})
    writer.write_evaluation(EvaluationPoint.of(1000, 125, 7.0, [10.0, 30.0]))
    writer.close()
    events = read(run)
    assert [(event.step, event.value) for event in events.Scalars("progress/training_steps")] == [
        (512, 64),
        (1000, 125),
    ]
    assert [(event.step, event.value) for event in events.Scalars("progress/seconds")] == [(512, 3.5), (1000, 7.0)]
    assert [(event.step, event.value) for event in events.Scalars("evaluation/mean_return")] == [(1000, 20.0)]


def test_strength_in_a_game_for_two_is_drawn_with_its_interval(tmp_path):
    run = RunFolder(tmp_path)
    writer = MetricsWriter(run)
    strength = Strength(150.0, (100.0, 200.0), True, {"random": (0.0, 0.0, 0.0)}, ())
    writer.write_evaluation(EvaluationPoint.of(1000, 125, 7.0, [1.0, -1.0], strength))
    writer.close()
    events = read(run)
    found = [events.Scalars(f"evaluation/{name}")[0].value for name in ("elo", "elo_low", "elo_high")]
    assert found == [150.0, 100.0, 200.0]


def test_resumed_run_continues_the_same_curve_with_rising_steps(tmp_path):
    run = RunFolder(tmp_path)
    first = MetricsWriter(run)
    for step in (100, 200, 300, 400):
        first.write(step, {"loss/total": step})
    first.close()
    resumed = MetricsWriter(run, resume_at=200)  # the checkpoint was written at 200; 300 and 400 are lost
    for step in (250, 350):
        resumed.write(step, {"loss/total": -step})
    resumed.close()
    events = [(event.step, event.value) for event in read(run).Scalars("loss/total")]
    assert events == [(100, 100), (200, 200), (250, -250), (350, -350)]


def test_unknown_name_is_refused_and_numbers_that_are_not_finite_are_left_out(tmp_path):
    run = RunFolder(tmp_path)
    writer = MetricsWriter(run)
    with pytest.raises(ValueError, match="metric loss/everything: wanted a name of muzero_ray"):
        writer.write(1, {"loss/everything": 1.0})
    writer.write(1, {"loss/total": float("nan"), "loss/value": 1.0})
    writer.close()
    assert read(run).Tags()["scalars"] == ["loss/value"]


def test_hyper_parameters_and_model_are_written_as_text(tmp_path):
    run = RunFolder(tmp_path)
    writer = MetricsWriter(run)
    writer.write_description(Config(seed=41), "Linear(8, 64)\nReLU()")
    writer.close()
    texts = {tag: read(run).Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in read(run).Tags()["tensors"]}
    assert "| seed | 41 |" in texts["hyper-parameters/text_summary"]
    assert "| search.num_simulations | 16 |" in texts["hyper-parameters/text_summary"]
    assert "    ReLU()" in texts["model summary/text_summary"]


def test_every_metric_has_a_group_a_unit_and_a_meaning():
    for name, metric in METRICS.items():
        group, _, what = name.partition("/")
        assert group
        assert what
        assert metric.unit
        assert metric.meaning


def test_a_writer_needs_no_torch_and_hides_none_from_others(tmp_path):
    program = f"""
import sys
from pathlib import Path
from muzero_ray.app.reporting.metrics import MetricsWriter
from muzero_ray.app.saving.run_folder import RunFolder
writer = MetricsWriter(RunFolder(Path({str(tmp_path)!r})))
writer.write(1, {{"loss/total": 1.0}})
writer.close()
assert "torch" not in sys.modules
import torch
torch.zeros(1)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    [scalar] = read(RunFolder(tmp_path)).Scalars("loss/total")
    assert (scalar.step, scalar.value) == (1, 1.0)


def test_full_disk_neither_ends_the_run_nor_keeps_it_waiting(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(metrics, "PatientFile", lambda path: PatientFile(Path("/dev/full")))
    writer = MetricsWriter(RunFolder(tmp_path))
    for step in range(100):  # far more than tensorboardX queues
        writer.write(step, {"loss/total": 1.0})
    writer.flush()
    writer.close()
    assert len(caplog.records) == 1
    assert "cannot be written: No space left on device" in caplog.text

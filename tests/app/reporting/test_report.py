"""What a finished run leaves behind."""

import errno
import json
import os
import weakref
from collections.abc import Sequence

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from muzero_ray.app.reporting import report
from muzero_ray.app.reporting.curve import Curve, EvaluationPoint
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.config import Config, SystemConfig, TrainConfig
from muzero_ray.core.reports import Strength


@pytest.fixture
def curve(tmp_path):
    curve = Curve(tmp_path / "curve.jsonl")
    for step in range(0, 1000, 50):
        curve.add_episodes(step, [float(step), 10.0])
    curve.add_evaluation(EvaluationPoint.of(500, 60, 1.0, [30.0, 50.0]))
    curve.add_evaluation(EvaluationPoint.of(1000, 120, 2.0, [10.0, 20.0, 30.0]))
    return curve


def test_summary_tells_final_and_best_evaluation(tmp_path, curve):
    summary = report.summarize(Config(seed=3), curve, env_steps=1000, training_steps=120, seconds=2.34567)
    report.write_summary(RunFolder(tmp_path), summary)
    read = json.loads((tmp_path / "summary.json").read_text())
    assert (read["mean"], read["std"], read["returns"]) == (20.0, 10.0, [10.0, 20.0, 30.0])
    # t(2 degrees of freedom, 97.5%) = 4.3027, 10 / sqrt(3) = 5.7735.
    assert read["ci95"] == pytest.approx([20 - 24.841, 20 + 24.841], abs=1e-3)
    assert (read["env_steps"], read["training_steps"], read["seconds"]) == (1000, 120, 2.346)
    assert (read["best"]["env_steps"], read["best"]["mean"]) == (500, 40.0)
    assert [point["env_steps"] for point in read["evaluations"]] == [500, 1000]
    assert read["game"] == "lunarlander"
    assert read["seed"] == 3
    assert "python" in read["versions"]


def test_summary_of_a_run_without_an_evaluation_has_no_results(tmp_path):
    summary = report.summarize(Config(), Curve(tmp_path / "curve.jsonl"), env_steps=1, training_steps=0, seconds=0.0)
    assert [summary[name] for name in ("mean", "std", "ci95", "returns", "best")] == [None] * 5
    report.write_summary(RunFolder(tmp_path), summary)


def test_digest_differs_with_what_shapes_the_result_and_with_nothing_else():
    digest = report.config_digest(Config())
    assert digest == report.config_digest(Config(results="elsewhere", system=SystemConfig(device="cpu")))
    assert digest != report.config_digest(Config(seed=1))
    assert report.config_digest(Config(game="/here/mine.py")) == report.config_digest(Config(game="/there/mine.py"))
    assert digest != report.config_digest(Config(train=TrainConfig(td_steps=3)))


def test_picture_of_the_curve_shows_both_kinds_of_returns(tmp_path, curve):
    report.draw_learning_curve(tmp_path / "curve.png", curve, "lunarlander")
    pixels = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB")).astype(int)
    assert pixels.shape == (675, 1200, 3)
    red, green, blue = pixels.reshape(-1, 3).T
    assert ((blue - red > 100) & (blue > 150)).sum() > 500  # the line of the evaluations
    assert ((abs(red - green) < 3) & (abs(green - blue) < 3) & (red > 100) & (red < 210)).sum() > 50  # grey dots


def test_picture_of_an_empty_curve_can_be_drawn(tmp_path):
    report.draw_learning_curve(tmp_path / "curve.png", Curve(tmp_path / "curve.jsonl"), "lunarlander")
    assert (tmp_path / "curve.png").stat().st_size > 5_000


def frames(count: int = 6, height: int = 25, width: int = 41) -> list[np.ndarray]:
    return [np.full((height, width, 3), 40 * index, np.uint8) for index in range(count)]


def test_video_of_odd_small_frames_is_an_mp4_that_can_be_read_back(tmp_path):
    path = report.write_video(tmp_path / "video", frames())
    assert path == tmp_path / "video.mp4"
    read = imageio.mimread(path)
    assert len(read) == 6
    assert read[0].shape[0] % 2 == read[0].shape[1] % 2 == 0
    assert max(read[0].shape) > 600  # enlarged: 41 pixels would be a stamp
    assert abs(float(read[3].mean()) - 120) < 8


def test_video_is_written_frame_by_frame(tmp_path):
    class Watched(Sequence):
        """Frames that say how many of them are alive at once."""

        alive = most = 0

        def __len__(self):
            return 20

        def __getitem__(self, index):
            if index >= len(self):
                raise IndexError
            frame = np.full((480, 640, 3), 10 * index, np.uint8)
            Watched.alive += 1
            Watched.most = max(Watched.most, Watched.alive)
            weakref.finalize(frame, lambda: setattr(Watched, "alive", Watched.alive - 1))
            return frame

    assert len(imageio.mimread(report.write_video(tmp_path / "video", Watched()), memtest=False)) == 20
    assert Watched.most <= 3


def test_gif_is_written_with_one_sentence_where_no_mp4_can_be(tmp_path, monkeypatch, caplog):
    def without_ffmpeg(*_, **__):
        raise ImportError("no ffmpeg")

    monkeypatch.setattr(imageio, "get_writer", without_ffmpeg)
    path = report.write_video(tmp_path / "video", frames())
    assert path == tmp_path / "video.gif"
    assert len(imageio.mimread(path)) == 6
    assert [record.getMessage() for record in caplog.records] == [
        "no mp4 could be written (no ffmpeg); a gif is written: `pip install imageio[ffmpeg]`"
    ]


def test_full_disk_leaves_what_an_earlier_part_of_the_run_has_written(tmp_path, curve, monkeypatch):
    run = RunFolder(tmp_path)
    summary = report.summarize(Config(), curve, env_steps=1000, training_steps=120, seconds=1.0)
    report.write_summary(run, summary)
    report.draw_learning_curve(run.learning_curve, curve, "lunarlander")
    video = report.write_video(run.video, frames())
    before = [path.read_bytes() for path in (run.summary, run.learning_curve, video)]

    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    for write in (
        lambda: report.write_summary(run, summary),
        lambda: report.draw_learning_curve(run.learning_curve, curve, "another"),
        lambda: report.write_video(run.video, frames(5)),
    ):
        with pytest.raises(OSError, match="No space left"):
            write()
    assert [path.read_bytes() for path in (run.summary, run.learning_curve, video)] == before


def test_video_without_frames_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="video: wanted at least one frame, got none"):
        report.write_video(tmp_path / "video", [])


def test_game_without_pictures_is_filmed_from_its_text(tmp_path):
    path = report.write_recording(tmp_path / "video", [], ["X..\n...\n...", "X..\n.O.\n...", "X.X\n.O.\n..."])
    assert path is not None
    assert path.stat().st_size > 500
    assert report.write_recording(tmp_path / "video", [], ["", ""]) is None


def test_texts_are_drawn_in_columns_on_frames_of_one_size():
    # In a font of fixed width the two boards cover the same columns: X, then three dots below it.
    narrow, wide = report.draw_texts(["iii\nWWW", "WWW\niii\n..."])
    assert narrow.shape == wide.shape
    ink = [np.flatnonzero((frame < 128).any(axis=(0, 2))) for frame in (narrow, wide)]
    assert abs(ink[0].max() - ink[1].max()) <= 3


def test_picture_of_a_game_for_two_shows_strength_and_the_fixed_opponents(tmp_path):
    curve = Curve(tmp_path / "curve.jsonl")
    for step, elo in ((100, 50.0), (200, 150.0)):
        ratings = {
            "random": (0.0, 0.0, 0.0),
            "uct:100": (90.0, 80.0, 100.0),
            f"agent:{step // 8}": (elo, elo - 9, elo + 9),
        }
        strength = Strength(elo, (elo - 9, elo + 9), True, ratings, ())
        curve.add_evaluation(EvaluationPoint.of(step, step // 8, 1.0, [1.0, -1.0], strength))
    report.draw_learning_curve(tmp_path / "curve.png", curve, "tictactoe")
    picture = Image.open(tmp_path / "curve.png")
    assert picture.size == (1200, 675)
    summary = report.summarize(Config(), curve, env_steps=200, training_steps=25, seconds=1.0)
    assert summary["strength"]["elo"] == 150.0
    assert summary["strength"]["ratings"]["uct:100"] == (90.0, 80.0, 100.0)

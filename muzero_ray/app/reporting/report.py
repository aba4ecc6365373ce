"""What a finished run leaves behind: `summary.json`, the picture of its learning curve, and a video.

Draws and writes what it is given; plays and measures nothing.
"""

import hashlib
import io
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from muzero_ray.app.reporting.curve import Curve, describe
from muzero_ray.app.saving.files import write_whole
from muzero_ray.app.saving.run_folder import RunFolder, game_label, versions
from muzero_ray.core.config import Config

logger = logging.getLogger(__name__)

_VIDEO_SIZE = 640
"""Pixels that the longer side of a video has at least."""

_MARGIN = 40
"""Pixels around drawn text."""


def summarize(
    config: Config, curve: Curve, *, env_steps: int, training_steps: int, seconds: float, protocol: str = ""
) -> dict[str, Any]:
    """What came of a run, as JSON can hold it.

    Args:
        config: of the run.
        curve: its last evaluation is the final one; without any, the results are None.
        env_steps: played in all.
        training_steps: in all.
        seconds: wall-clock time of training, over all resumptions.
        protocol: how the game was played; see `GameSpec.protocol`.
    """
    final = curve.evaluations[-1] if curve.evaluations else None
    found = describe(final.returns) if final else None
    return {
        "game": config.game,
        "protocol": protocol or None,
        "seed": config.seed,
        "mean": found.mean if found else None,
        "std": found.std if found else None,
        "ci95": list(found.ci95) if found and found.ci95 else None,
        "returns": list(final.returns) if final else None,
        "env_steps": env_steps,
        "training_steps": training_steps,
        "seconds": round(seconds, 3),
        "strength": asdict(final.strength) if final and final.strength else None,
        "best": asdict(curve.best) if curve.best else None,
        "evaluations": [asdict(point) for point in curve.evaluations],
        "config_digest": config_digest(config),
        "versions": versions(),
    }


def config_digest(config: Config) -> str:
    """A fingerprint of everything that shapes the result: two runs with the same one are comparable.

    Where the files lie and what the machine is like (`results`, `system`) is left out.
    """
    shaping = config.model_dump(mode="json", exclude={"results", "system"})
    if config.game.endswith(".py"):
        shaping["game"] = game_label(config.game)  # where the game's file lies shapes nothing
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]


def write_summary(run: RunFolder, summary: dict[str, Any]) -> None:
    """Writes `summary.json`, one field a line, whole or not at all.

    Raises:
        OSError: if the disk is full or may not be written; an older summary is still there.
    """
    fields = (f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in summary.items())
    write_whole(run.summary, "{\n" + ",\n".join(fields) + "\n}\n")


def draw_learning_curve(path: Path, curve: Curve, title: str) -> None:
    """Draws evaluations, with a band of one standard deviation, over the returns of self-play.

    Args:
        path: of the PNG.
        curve: may be empty.
        title: above the picture.

    Raises:
        OSError: if the disk is full or may not be written; an older picture is still there.
    """
    from matplotlib.figure import Figure  # here, since it is slow to import; a Figure needs no display

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    if any(point.strength for point in curve.evaluations):
        _draw_strength(axes, curve)
    else:
        _draw_returns(axes, curve)
    axes.set(title=title, xlabel="env steps")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best", fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(path, picture.getvalue())


def _draw_strength(axes: Any, curve: Curve) -> None:
    """Elo of the agent at each evaluation, by what all games of the run say in the end, and the fixed opponents."""
    points = [point for point in curve.evaluations if point.strength is not None]
    newest = points[-1].strength
    assert newest is not None
    steps = np.array([point.env_steps for point in points])
    found = [newest.ratings.get(f"agent:{point.training_steps}") for point in points]
    ratings = np.array([rating or (np.nan,) * 3 for rating in found])
    axes.fill_between(steps, ratings[:, 1], ratings[:, 2], color="C0", alpha=0.2, linewidth=0)
    axes.plot(steps, ratings[:, 0], "o-", color="C0", markersize=4, label="agent, greedy (band: 95% interval)")
    for name, (elo, _, _) in newest.ratings.items():
        if not name.startswith("agent:"):
            axes.axhline(elo, color="0.5", linewidth=0.8, linestyle="--")
            place = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "textcoords": "offset points"}
            axes.annotate(name, (0.01, elo), ha="left", color="0.4", fontsize="small", **place)
    axes.set(ylabel=f"Elo ({next(iter(newest.ratings))} = 0)")


def _draw_returns(axes: Any, curve: Curve) -> None:
    """Returns of the greedy agent, over those of self-play."""
    if curve.episodes:
        steps, returns = np.array(curve.episodes).T
        axes.plot(
            steps, returns, ".", color="0.6", markersize=2.5, alpha=0.5, label="self-play, with exploration", zorder=1
        )
    if curve.evaluations:
        points = curve.evaluations
        steps = np.array([point.env_steps for point in points])
        means, stds = (np.array([getattr(point, name) for point in points]) for name in ("mean", "std"))
        axes.fill_between(steps, means - stds, means + stds, color="C0", alpha=0.2, linewidth=0, zorder=2)
        label = f"evaluation, greedy ({len(points[-1].returns)} episodes at the end; band: one std)"
        axes.plot(steps, means, "o-", color="C0", markersize=4, label=label, zorder=3)
        last = points[-1]
        axes.annotate(
            f"{last.mean:.1f}", (last.env_steps, last.mean), xytext=(6, 0), textcoords="offset points",
            color="C0", va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set(ylabel="return of an episode")


def write_video(stem: Path, frames: Sequence[np.ndarray], frames_per_second: float = 30.0) -> Path:
    """Writes frames as an mp4, or as a gif where mp4 cannot be written.

    Args:
        stem: path without suffix.
        frames: at least one; each `[H, W, 3]` uint8, all of one size.
        frames_per_second: speed.

    Returns:
        The file.

    Raises:
        ValueError: if there is no frame.
        OSError: if the disk is full or may not be written.
    """
    import imageio.v2 as imageio  # here, since only the end of a run needs it

    if len(frames) == 0:
        raise ValueError("video: wanted at least one frame, got none")
    stem.parent.mkdir(parents=True, exist_ok=True)
    # Each is written elsewhere first: on a full disk, the video of an earlier part of the run stays.
    with tempfile.TemporaryDirectory() as elsewhere:
        made = Path(elsewhere) / "video.mp4"
        try:
            # One frame at a time: all of an episode's are hundreds of megabytes. ffmpeg is started without a fork,
            # which would double the memory of this process for a moment.
            os.environ.setdefault("IMAGEIO_FFMPEG_NO_PREVENT_SIGINT", "1")
            video: Any = imageio.get_writer(made, fps=frames_per_second, codec="libx264", macro_block_size=2)
            with video:
                for frame in frames:
                    video.append_data(_fit(frame))
        except Exception as error:  # imageio raises whatever its ffmpeg plugin, or the lack of it, does
            logger.warning("no mp4 could be written (%s); a gif is written: `pip install imageio[ffmpeg]`", error)
            made = made.with_suffix(".gif")
            shown: list[Any] = [_fit(frame) for frame in frames]
            imageio.mimwrite(made, shown, duration=1000 / frames_per_second, loop=0)
        path = stem.with_name(f"{stem.name}{made.suffix}")
        write_whole(path, made.read_bytes())
    return path


def write_recording(stem: Path, frames: Sequence[np.ndarray], texts: Sequence[str]) -> Path | None:
    """Writes an episode as a video: its pictures, or its texts where the game draws none.

    Short episodes are slowed down, so that a board game of ten moves can be followed.

    Args:
        stem: path without suffix.
        frames: may be empty.
        texts: may be empty strings.

    Returns:
        The file; None if the game has neither pictures nor text.
    """
    shown = frames or (draw_texts(texts) if any(texts) else [])
    if not shown:
        return None
    return write_video(stem, shown, frames_per_second=min(30.0, max(1.5, len(shown) / 8)))


def draw_texts(texts: Sequence[str]) -> list[np.ndarray]:
    """Draws the states of a game that has text and no pictures, as `[H, W, 3]` uint8 frames of one size."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    # Boards need a font of fixed width; matplotlib brings one along.
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSansMono.ttf", size=40)
    boxes = [ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font=font) for text in texts]
    width, height = (int(max(box[side] for box in boxes)) + 2 * _MARGIN for side in (2, 3))
    frames = []
    for text in texts:
        image = Image.new("RGB", (width, height), "white")
        ImageDraw.Draw(image).multiline_text((_MARGIN, _MARGIN), text, fill="black", font=font)
        frames.append(np.asarray(image))
    return frames


def _fit(frame: np.ndarray) -> np.ndarray:
    """Enlarges small pictures by whole pixels, and makes both sides even, as mp4 wants them."""
    factor = max(1, _VIDEO_SIZE // max(frame.shape[:2]))
    large = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    odd = [(0, size % 2) for size in large.shape[:2]]
    return np.pad(large, [*odd, (0, 0)], mode="edge")

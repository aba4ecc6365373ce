"""What a run leaves in its folder when it ends, and how that is told: summary, learning curve, video.

All of it is an extra: where something cannot be written, the run is complete without it, and a line says why.
"""

import logging
from collections.abc import Callable
from typing import Any

from muzero_ray.app.reporting import report
from muzero_ray.app.reporting.curve import Curve
from muzero_ray.app.reporting.live_view import duration
from muzero_ray.app.saving.checkpoint_reader import newest_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder, game_label
from muzero_ray.core.config import Config

logger = logging.getLogger(__name__)


class Results:
    """Writes what `report` draws, from what a run's curve holds.

    Args:
        config: of the run.
        folder: of the run.
        curve: of the run.
        protocol: in which it was played, in words.
        outcome: gets a line for whatever could not be written.
    """

    def __init__(self, config: Config, folder: RunFolder, curve: Curve, protocol: str, outcome: list[str]) -> None:
        self._config = config
        self._folder = folder
        self._curve = curve
        self._protocol = protocol
        self._outcome = outcome

    def write_summary(self, env_steps: int, training_steps: int, seconds: float, *, finished: bool) -> dict[str, Any]:
        """Writes the summary, which it returns, and the picture of the learning curve.

        Args:
            env_steps: played by now.
            training_steps: taken by now.
            seconds: of the run.
            finished: whether its budget is spent.
        """
        summary = report.summarize(
            self._config,
            self._curve,
            env_steps=env_steps,
            training_steps=training_steps,
            seconds=seconds,
            protocol=self._protocol,
        )
        summary["finished"] = finished
        title = f"{game_label(self._config.game)}, seed {self._config.seed}"
        self._try_to_write("summary", lambda: report.write_summary(self._folder, summary))
        self._try_to_write(
            "picture", lambda: report.draw_learning_curve(self._folder.learning_curve, self._curve, title)
        )
        return summary

    def write_video(self) -> None:
        """Plays an episode with the newest checkpoint's weights, and writes it."""
        from muzero_ray.actors.build import Agent  # here, since only the end of a run needs them
        from muzero_ray.app.reporting.video import record_video

        def write() -> None:
            agent = Agent(self._config, newest_checkpoint(self._folder).weights())
            record_video(self._config, agent, self._folder.video)

        self._try_to_write("video", write)

    def in_words(self, summary: dict[str, Any]) -> list[str]:
        """What came of the run, in lines for the user."""
        mean, interval = summary["mean"], summary["ci95"]
        spread = f" (95% interval {interval[0]:.1f} to {interval[1]:.1f})" if interval else ""
        strength = self._curve.evaluations[-1].strength
        told = f"final evaluation {mean:.1f}{spread} over {len(summary['returns'])} episodes"
        if strength is not None:
            (anchor, *_), (low, high) = strength.ratings, strength.ci95
            told = f"strength         Elo {strength.elo:.0f} (95% interval {low:.0f} to {high:.0f}), {anchor} being 0"
        return [
            told,
            f"after            {summary['env_steps']:,} env steps, {summary['training_steps']:,} training steps, "
            f"{duration(summary['seconds'])}",
            f"results          {self._folder.path}",
        ]

    def _try_to_write(self, what: str, write: Callable[[], object]) -> None:
        try:
            write()
        except Exception as error:
            logger.debug("no %s", what, exc_info=error)
            reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            self._outcome.append(f"{f'no {what}':<16} {reason}")

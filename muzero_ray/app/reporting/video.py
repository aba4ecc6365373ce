"""A video of a trained agent: plays one episode and writes it, for the end of a run and `muzero-ray watch`.

Opens no window. How frames become a file is `report`.
"""

from pathlib import Path

from muzero_ray.actors.build import Agent
from muzero_ray.app.reporting import report
from muzero_ray.core.config import Config
from muzero_ray.core.rng import evaluation_seeds
from muzero_ray.play.evaluation import record_episode


def record_video(config: Config, agent: Agent, stem: Path, episode: int = 0) -> Path | None:
    """Plays one of the evaluation's episodes greedily and writes it as a video.

    Args:
        config: of the run.
        agent: with the weights that are to play.
        stem: path of the video without suffix.
        episode: which of the evaluation's episodes.

    Returns:
        The file; None if the game has neither pictures nor text.

    Raises:
        OSError: if the disk is full or may not be written.
    """
    recording = record_episode(
        agent.make_game,
        agent.planner,
        agent.model,
        evaluation_seeds(config.seed, episode + 1)[episode],
        num_simulations=config.evaluate.num_simulations,
    )
    return report.write_recording(stem, recording.frames, recording.texts)

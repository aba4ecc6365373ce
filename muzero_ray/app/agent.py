"""Opens a trained agent: from a run's folder to something that plays."""

from pathlib import Path
from typing import TYPE_CHECKING

from muzero_ray.app import config_io
from muzero_ray.app.errors import UserError
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.core.config import Config

if TYPE_CHECKING:
    from muzero_ray.actors.build import Agent
    from muzero_ray.app.saving.checkpoint_reader import Checkpoint


def open_checkpoint(run: Path, which: str | None) -> tuple[Config, "Checkpoint"]:
    """The configuration of a run, and the checkpoint that a user names; for which, see `find_checkpoint`.

    Raises:
        UserError: if there is no such run or checkpoint, or either cannot be read.
    """
    from muzero_ray.app.saving.checkpoint_reader import find_checkpoint

    folder = RunFolder.open(run)
    return config_io.read_config(folder.config), find_checkpoint(folder, which)


def open_agent(run: Path, which: str | None) -> tuple[Config, "Agent"]:
    """The configuration of a run, and its agent with the weights of a checkpoint, ready to play.

    Raises:
        UserError: as `open_checkpoint`, or if the weights are of another game or network.
        GameLoadError: if the game cannot be made.
    """
    config, checkpoint = open_checkpoint(run, which)
    return config, make_agent(config, checkpoint)


def make_agent(config: Config, checkpoint: "Checkpoint") -> "Agent":
    """The agent of a run with the weights of one of its checkpoints, ready to play.

    Raises:
        UserError: if the weights are of another game or network.
        GameLoadError: if the game cannot be made.
    """
    from muzero_ray.actors.build import Agent

    agent = Agent(config)
    weights = checkpoint.weights()
    try:
        agent.model.set_weights(weights)
    except (ValueError, RuntimeError) as error:  # from the compiled engine, and from torch
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{checkpoint.path}: its weights do not fit the game {config.game} and the network in the run's "
            f"config.yaml ({reason}); has either changed since it was trained?"
        ) from error
    return agent

"""Runs with a checkpoint of untrained weights, for commands that open one."""

from pathlib import Path
from typing import Any

from reference.tiny_runs import tiny_config

from muzero_ray.actors.build import Agent
from muzero_ray.app import config_io
from muzero_ray.app.saving.checkpoint import save_checkpoint
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.nn.networks import build_network, to_weights


def make_agent_run(folder: Path, game: str, **changes: Any) -> Path:
    """The folder of a run of `tiny_config(game=game, **changes)` with one checkpoint."""
    config = tiny_config(game=game, **changes)
    run = RunFolder.create(folder / "results", game)
    config_io.write_config(run.config, config)
    network = build_network(config.network, Agent(config).spec, consistency=False, seed=0)
    manifest = {"training_steps": 1, "env_steps": 1, "seconds": 0.0}
    save_checkpoint(run, learner_state=b"", weights=to_weights(network), buffer_state={}, manifest=manifest, keep=1)
    return run.path

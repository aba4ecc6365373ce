"""Simulated actors send what real ones would; and self-play stops where nobody trains."""

import json
import sys

import numpy as np
import pytest
import scaling
import simulated_actors
from reference.tiny_runs import tiny_config

from muzero_ray.actors import build
from muzero_ray.adapters.loading import load_game

MOVES = 8
"""Of a segment in `tiny_config`."""


def recorded(name: str, count: int = 5):
    return simulated_actors.record(load_game(name)(), MOVES, count, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["cartpole", "connect4"])
def test_recorded_pieces_are_as_self_play_would_hand_them_over(name):
    pieces = recorded(name)
    spec = load_game(name)().spec
    assert len(pieces) == 5
    for piece in pieces:
        piece.check(spec.num_actions)
        assert piece.num_steps == MOVES
        assert piece.observations.shape[1:] == spec.observation_shape
        assert piece.observations.dtype == spec.observation_dtype


def test_the_games_of_simulated_actors_go_on_from_piece_to_piece_and_are_nobody_elses():
    config = tiny_config(replay={"capacity_steps": 20_000})
    buffer = build.make_replay_buffer(config)
    actors = [simulated_actors.SimulatedGames(index, 4, recorded("cartpole")) for index in range(3)]
    for _ in range(2 * simulated_actors.PIECES_PER_GAME + 1):
        for actor in actors:
            assert all(buffer.add(piece) for piece in actor.delivery())
    buffer.check_valid()
    assert buffer.num_steps == 3 * 4 * 41 * MOVES
    assert buffer.num_games == 3 * 4 * 2
    links = buffer.state_dict()["predecessors"]
    assert (links == 0).sum() == 3 * 4 * 3, "every game has one first state"
    assert (links > 0).sum() == len(links) - 36, "all others follow one"


def test_medians_and_tails_are_in_milliseconds():
    assert scaling._middle_and_tail([0.001 * i for i in range(1, 102)]) == (51.0, 100.0)
    assert scaling._middle_and_tail([]) is None


def let_in(config, num_actors: int, consumed: int) -> float:
    """Env steps up to which the pace lets actors play on when `consumed` positions have been trained."""
    pace = config.train
    delivery = config.self_play.games_per_actor * config.self_play.segment_moves
    # One delivery of every actor may lie untrained, or two batches, if these are more.
    ahead = max(2 * pace.batch_size / pace.replay_ratio, num_actors * delivery)
    return config.replay.min_steps + consumed / pace.replay_ratio + ahead


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("max_pending", [1, 3])
def test_without_a_trainer_every_actor_stops_at_max_pending_deliveries_and_nothing_grows(max_pending):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(simulated_actors)  # processes of the cluster do not find the benchmarks
    config = tiny_config(
        system={"max_pending": max_pending}, reanalyze={"ratio": 0.0, "fresh_values": False}, train={"td_steps": 1}
    )
    simulation = scaling.Simulation(config, 20, recorded("cartpole"), {"w": np.zeros(1000, np.float32)}, processes=1)
    try:
        simulation.run(120.0, until=lambda: simulation.window.batches > 0 and simulation.window.deliveries > 100)
        assert simulation.window.batches > 0
        found = scaling.back_pressure(simulation, seconds=5.0)
        status = found["status"]
    finally:
        simulation.close()
    assert found["stretches being played"] == 0
    assert found["unacknowledged"] == 20 * max_pending
    assert found["acknowledged later"] == 0
    consumed = round(status.held_ratios["train"] * (status.env_steps - config.replay.min_steps))
    # All wait, so it must be more; and none went on when it was, so that it is at most what all of them wait with.
    most_waiting = 20 * max_pending * config.self_play.games_per_actor * MOVES
    assert 0 < status.env_steps - let_in(config, 20, consumed) <= most_waiting
    assert found["grown MB"]["ReplayBufferActor"] < 2.0
    assert found["grown MB"]["SimulatedPlayers"] < 2.0


@pytest.mark.ray
@pytest.mark.slow
def test_the_table_has_a_line_for_each_number_of_actors(tmp_path):
    import subprocess
    from pathlib import Path

    script = Path(scaling.__file__)
    command = [sys.executable, script.name, "--actors", "2", "4", "--seconds", "3", "--warm-up", "3"]
    options = ["--set", "replay.min_steps=100", "--json", str(tmp_path / "found.json")]
    ended = subprocess.run([*command, *options], cwd=script.parent, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["actors"] for row in rows] == [2, 4]
    for row in rows:
        assert row["env steps/s"] > 0
        assert row["batches/s"] > 0
        assert row["store a delivery ms"][1] >= row["store a delivery ms"][0] > 0
        assert row["make a batch ms"][1] >= row["make a batch ms"][0] > 0
        assert row["busy"]["ReplayBufferActor"] > 0

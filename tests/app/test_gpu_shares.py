"""GPUs are divided as was asked for, the trainer has the rest, and who asks for too much is told what to lower."""

import re

import pytest

from muzero_ray.app import cluster
from muzero_ray.app.cluster import Cluster
from muzero_ray.app.errors import UserError
from muzero_ray.app.gpu_shares import trainer_share
from muzero_ray.core.config import Config


def config_with(
    self_play: float = 0.0, reanalyze: float = 0.0, evaluate: float = 0.0, ranks: int = 1, **more
) -> Config:
    return Config(
        train={"num_gpus": ranks},
        self_play={"num_gpus": self_play},
        reanalyze={"num_gpus": reanalyze, **more},
        evaluate={"num_gpus": evaluate},
    )


@pytest.mark.parametrize(
    ("config", "gpus", "actors", "share"),
    [
        (config_with(), 1, 8, 1.0),
        (config_with(0.25), 1, 2, 0.5),
        (config_with(0.1, 0.1, 0.1), 1, 7, 0.1),  # 0.1 * 7 + 0.2 is a little more than 0.9 in floating point
        (config_with(0.3, 0.05, 0.05), 1, 1, 0.6),
        (config_with(0.5, ratio=0.0), 1, 1, 0.5),
        (config_with(0.2, reanalyze=0.2, ratio=0.0), 1, 2, 0.6),  # nobody reanalyzes
        (config_with(0.25), 2, 4, 1.0),
        (config_with(0.25), 2, 6, 0.5),
        (config_with(1.0, ranks=2), 4, 2, 1.0),
    ],
)
def test_the_trainer_has_a_gpu_or_what_the_others_leave_of_it(config, gpus, actors, share):
    assert trainer_share(config, "cuda", gpus, actors) == share


def test_every_shard_of_the_buffer_has_its_share():
    config = Config(replay={"num_gpus": 0.1, "shards": 3}, self_play={"num_gpus": 0.2})
    assert trainer_share(config, "cuda", 1, 2) == 0.3
    without = config.model_copy(update={"reanalyze": config.reanalyze.model_copy(update={"fresh_values": False})})
    assert trainer_share(without, "cuda", 1, 2) == 0.6, "which compute nothing"


def test_what_is_left_of_several_gpus_is_not_added_up():
    shards = Config(replay={"num_gpus": 0.4, "shards": 3})
    # Two shards on one GPU, the third beside the trainer. 0.8 are left of both, of which 0.2 lie on the other one.
    assert trainer_share(shards, "cuda", 2, 0) == 0.6
    # 0.8 on each, and the trainer beside one of them.
    assert trainer_share(config_with(0.8), "cuda", 2, 2) == 0.2
    assert trainer_share(config_with(0.8), "cuda", 3, 2) == 1.0
    assert trainer_share(config_with(0.5, 0.5, 0.5, ranks=2), "cuda", 4, 1) == 1.0


def test_on_several_nodes_the_trainer_leaves_the_buffer_its_share_of_the_gpu_next_to_it():
    config = Config(replay={"num_gpus": 0.2})
    assert trainer_share(config, "cuda", 4, 2, nodes=1) == 1.0
    assert trainer_share(config, "cuda", 4, 2, nodes=2) == 0.8
    assert trainer_share(config_with(), "cuda", 4, 2, nodes=2) == 1.0
    assert trainer_share(Config(replay={"num_gpus": 0.333}), "cuda", 4, 2, nodes=2) == 0.66, "0.67 would be too much"


def test_shards_that_could_wait_for_a_gpu_for_ever_are_refused():
    config = Config(replay={"num_gpus": 0.2, "shards": 2})
    assert trainer_share(config, "cuda", 2, 2, nodes=1) == 1.0
    sentence = (
        "replay.num_gpus 0.2: 2 shards stay on one node, which may have none left on a cluster of 2; use "
        "replay.shards 1, or replay.num_gpus 0"
    )
    with pytest.raises(UserError, match=re.escape(sentence)):
        trainer_share(config, "cuda", 2, 2, nodes=2)


def test_a_trainer_on_cpus_takes_none():
    assert trainer_share(config_with(0.5), "cpu", 1, 2) == 0.0


@pytest.mark.parametrize(
    ("config", "device", "gpus", "actors", "sentence"),
    [
        (config_with(0.5), "cpu", 0, 2, "self_play.num_gpus 0.5: the cluster has no GPU; use 0"),
        (
            config_with(0.25, evaluate=0.1),
            "cuda",
            1,
            4,
            "self_play.num_gpus 0.25, evaluate.num_gpus 0.1: 4 self-play actors, the replay buffer, reanalysis and "
            "evaluation take 1.1 GPUs, and the trainer needs 0.1, but the cluster has 1; lower these shares, or "
            "--num-actors",
        ),
        (config_with(0.25), "cuda", 1, 4, "take 1 GPUs, and the trainer needs 0.1, but the cluster has 1;"),
        (config_with(0.5, ranks=2), "cuda", 2, 1, "take 0.5 GPUs, and the trainer needs 2, but the cluster has 2;"),
        (config_with(0.75), "cpu", 1, 2, "take 1.5 GPUs, but the cluster has 1;"),
        (
            config_with(0.6),
            "cpu",
            2,
            3,
            "self_play.num_gpus 0.6: 3 self-play actors, the replay buffer, reanalysis and evaluation take 1.8 GPUs, "
            "but the cluster has 2, and each must find its share on one of them; lower these shares, or --num-actors",
        ),
        (
            config_with(0.95),
            "cuda",
            2,
            2,
            "and the trainer needs 0.1, but the cluster has 2, and each must find its share on one of them;",
        ),
        (
            config_with(0.75, evaluate=0.75, ranks=2),
            "cuda",
            4,
            2,
            "take 2.25 GPUs, and the trainer needs 2, but the cluster has 4;",
        ),
        (
            config_with(0.6, evaluate=0.6, ranks=2),
            "cuda",
            4,
            2,
            "and the trainer needs 2, but the cluster has 4, and each must find its share on one of them;",
        ),
    ],
)
def test_who_asks_for_too_much_is_told_what_to_lower(config, device, gpus, actors, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        trainer_share(config, device, gpus, actors)


def test_the_plan_says_who_has_how_much_of_a_gpu():
    config = Config(num_actors=2, self_play={"num_gpus": 0.25, "games_per_actor": 256})
    plan = cluster.make_plan(config, Cluster(nodes=1, cpus=8, gpus=1, dashboard="", ours=True))
    assert str(plan) == "2 self-play actors x 256 games on 0.25 GPU each, trainer on 0.5 GPU with 1 thread"
    assert plan.trainer_gpus == 0.5

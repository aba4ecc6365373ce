"""Joining and leaving a cluster, with a stand-in for Ray."""

import signal
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest

from muzero_ray.app import cluster
from muzero_ray.app.cluster import Cluster
from muzero_ray.app.errors import UserError
from muzero_ray.core.config import Config, SystemConfig


class FakeRay:
    """Starts nothing; takes the signals, as Ray does."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.arguments: dict = {}
        self.killed: list[str] = []
        self.shutdowns = 0
        self.util = SimpleNamespace(list_named_actors=lambda: ["trainer", "self_play_0", "somebody else's"])

    def init(self, **arguments):
        self.arguments = arguments
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.error:
            raise self.error
        return SimpleNamespace(dashboard_url="127.0.0.1:8265")

    def is_initialized(self):
        return bool(self.arguments)

    def cluster_resources(self):
        return {"CPU": 2.0}

    def nodes(self):
        return [{"Alive": True}]

    def get_actor(self, name):
        return name

    def kill(self, name):
        self.killed.append(name)

    def shutdown(self):
        self.shutdowns += 1


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setattr(cluster, "ray", fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "_expect_answer", lambda address: None)
    return fake


def test_default_dashboard_port_is_left_to_ray_so_that_a_second_run_finds_another(ray):
    cluster.connect(Config())
    assert ray.arguments["dashboard_port"] is None


def test_dashboard_port_of_the_users_own_is_insisted_on(ray):
    cluster.connect(Config(system=SystemConfig(dashboard_port=9000)))
    assert ray.arguments["dashboard_port"] == 9000


@pytest.mark.parametrize("error", [None, ConnectionError("nobody there"), KeyboardInterrupt()])
def test_signal_handlers_are_as_they_were_after_ray_has_started_or_failed(ray, error):
    ray.error = error
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        cluster.connect(Config())
    except (UserError, KeyboardInterrupt):
        assert ray.shutdowns == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_own_cluster_is_shut_down_and_a_joined_one_rid_of_our_actors_alone(ray):
    ray.arguments = {"address": "somewhere"}
    cluster.leave(Cluster(1, 2, 0, "", ours=True))
    assert (ray.shutdowns, ray.killed) == (1, [])
    cluster.leave(Cluster(1, 2, 0, "", ours=False))
    assert (ray.shutdowns, ray.killed) == (1, ["trainer", "self_play_0"])


def test_an_actor_that_ends_while_a_joined_cluster_is_left_is_no_error(ray, monkeypatch):
    def get_actor(name):
        if name == "trainer":
            raise ValueError(f"Failed to look up actor with name '{name}'")
        return name

    ray.arguments = {"address": "somewhere"}
    monkeypatch.setattr(ray, "get_actor", get_actor)
    cluster.leave(Cluster(1, 2, 0, "", ours=False))
    assert ray.killed == ["self_play_0"]


class Autoscaler:
    """Hands out a CPU each time somebody looks, once it was asked, up to a limit."""

    def __init__(self, ray, limit: int) -> None:
        self.requests: list[int] = []
        self.cpus, self.limit = 2, limit
        ray.cluster_resources = self.look

    def request(self, count: int) -> None:
        self.requests.append(count)

    def look(self) -> dict[str, float]:
        if self.requests:
            self.cpus = min(self.limit, self.cpus + 1)
        return {"CPU": float(self.cpus)}


@pytest.fixture
def growing(ray, monkeypatch):
    """Makes an autoscaler, and joins its cluster by address."""

    def make(limit: int, **system) -> tuple[Autoscaler, Config, Cluster]:
        autoscaler = Autoscaler(ray, limit)
        monkeypatch.setattr(cluster, "_request_cpus", autoscaler.request)
        monkeypatch.setattr(cluster, "_POLL_SECONDS", 0.001)
        config = Config(num_actors=5, system={"address": "head:6379", **system})
        return autoscaler, config, cluster.connect(config)

    return make


def test_the_autoscaler_is_asked_for_what_is_missing_and_waited_for(growing):
    autoscaler, config, joined = growing(limit=8)
    told: list[str] = []
    gathered = cluster.gather(config, joined, told.append)
    assert autoscaler.requests == [5, 0], "actors hold what they need from then on; nothing is kept up beyond the run"
    assert (gathered.cpus, gathered.may_grow) == (5, True)
    assert told == ["waiting          for 5 CPUs, of which 2 are here, for 300 s at most (system.node_wait_seconds)"]
    assert cluster.make_plan(config, gathered).num_actors == 5
    cluster.leave(gathered)
    assert autoscaler.requests == [5, 0], "what others have asked for is not withdrawn"


def test_a_cluster_that_does_not_grow_enough_is_used_as_it_is(growing):
    _, config, joined = growing(limit=3, node_wait_seconds=0.05)
    gathered = cluster.gather(config, joined, lambda _: None)
    assert gathered.cpus == 3
    assert cluster.make_plan(config, gathered).num_actors == 3


def test_nobody_is_asked_where_there_is_enough_or_nothing_can_grow(growing):
    autoscaler, config, joined = growing(limit=8)
    enough = config.model_copy(update={"num_actors": 2})
    assert cluster.gather(enough, joined, pytest.fail) == joined
    assert cluster.gather(config, JOINED, pytest.fail) == JOINED
    assert autoscaler.requests == []


JOINED = Cluster(nodes=1, cpus=2, gpus=0, dashboard="http://127.0.0.1:8265", ours=True)


@pytest.fixture
def token(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("5ec7e7\n")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))


def test_token_is_shown_to_a_person_and_never_to_a_log(token, monkeypatch):
    assert cluster.dashboard_hint(JOINED, terminal=True) == "http://127.0.0.1:8265  (it asks for a token: 5ec7e7)"
    assert "5ec7e7" not in cluster.dashboard_hint(JOINED, terminal=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from the environment")
    assert "from the environment" in cluster.dashboard_hint(JOINED, terminal=True)


def test_command_that_prints_the_token_is_named_where_it_is_not_known(token, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    assert "`ray get-auth-token` prints it" in cluster.dashboard_hint(JOINED, terminal=True)


def test_dashboard_that_asks_for_nothing_is_named_by_its_address_alone(token, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert cluster.dashboard_hint(JOINED, terminal=True) == "http://127.0.0.1:8265"


def test_as_many_trainer_ranks_are_planned_as_are_asked_for():
    config = Config(num_actors=1, train={"num_gpus": 4})
    plan = cluster.make_plan(config, Cluster(nodes=1, cpus=2, gpus=4, dashboard="", ours=True))
    assert (plan.device, plan.trainer_ranks) == ("cuda", 4)
    assert str(plan) == "1 self-play actor, 4 trainer ranks on cuda with 1 thread each"


def test_more_trainer_ranks_than_gpus_are_refused_with_what_there_is():
    config = Config(num_actors=1, train={"num_gpus": 4})
    with pytest.raises(UserError, match=r"num_gpus: 4 were asked for, but the cluster has 2 GPUs; .*num-gpus 2"):
        cluster.make_plan(config, Cluster(nodes=1, cpus=2, gpus=2, dashboard="", ours=True))


def test_without_a_gpu_ranks_share_the_cpus():
    config = Config(num_actors=1, train={"num_gpus": 2})
    plan = cluster.make_plan(config, Cluster(nodes=1, cpus=2, gpus=0, dashboard="", ours=True))
    assert (plan.device, plan.trainer_ranks) == ("cpu", 2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"train": {"num_gpus": 3}}, r"batch_size \(256\) must be a multiple of train.num_gpus \(3\)"),
        ({"train": {"num_gpus": 2}, "num_actors": 0}, r"one process has one trainer; leave out num_actors 0"),
    ],
)
def test_ranks_that_cannot_be_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**given)


@pytest.mark.parametrize(
    ("address", "before", "after"), [(None, None, "10000"), (None, "500", "500"), ("here:1", None, None)]
)
def test_a_cluster_of_our_own_does_not_remember_calls_without_end(ray, monkeypatch, address, before, after):
    name = "RAY_task_events_max_num_task_in_gcs"  # its GCS grew by 170 MB an hour
    environment = {key: value for key, value in cluster.os.environ.items() if key != name}
    monkeypatch.setattr(cluster.os, "environ", environment | ({name: before} if before else {}))
    cluster.connect(Config(system=SystemConfig(address=address)))
    assert cluster.os.environ.get(name) == after


def test_more_actors_are_planned_than_there_are_cpus_for_where_machines_may_join():
    config = Config(num_actors=2, max_actors=8)
    joined = Cluster(nodes=2, cpus=4, gpus=0, dashboard="", ours=False, may_grow=True)
    plan = cluster.make_plan(config, joined)
    assert (plan.num_actors, plan.most_actors, plan.reserved_cpus) == (2, 8, 1)
    assert str(plan) == "2 self-play actors (up to 8 as machines come), trainer on cpu with 1 thread"
    ours = cluster.make_plan(config, Cluster(nodes=1, cpus=4, gpus=0, dashboard="", ours=True))
    assert (ours.most_actors, ours.reserved_cpus) == (2, 0), "no machine joins it"


def test_actors_that_were_asked_for_and_do_not_fit_begin_when_machines_come():
    joined = Cluster(nodes=1, cpus=3, gpus=1, dashboard="", ours=False, may_grow=True)
    plan = cluster.make_plan(Config(num_actors=5), joined)
    assert (plan.num_actors, plan.most_actors) == (3, 5)
    assert plan.reserved_cpus == 0, "a trainer on a GPU has the CPUs that its node does not offer"


def test_without_a_number_of_actors_the_maximum_bounds_what_the_machine_has_room_for():
    joined = Cluster(nodes=1, cpus=16, gpus=0, dashboard="", ours=False, may_grow=True)
    assert cluster.make_plan(Config(max_actors=4), joined).num_actors == 4
    plan = cluster.make_plan(Config(max_actors=64), joined)
    assert (plan.num_actors, plan.most_actors, plan.reserved_cpus) == (15, 64, 1)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"num_actors": 4, "max_actors": 2}, r"max_actors \(2\) must not be below num_actors \(4\)"),
        ({"num_actors": 0, "max_actors": 2}, r"one process has no actors; leave out num_actors 0"),
    ],
)
def test_maxima_that_cannot_be_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config(**given)


@pytest.mark.parametrize("named", ["option", "variable"])
def test_an_address_at_which_nothing_answers_is_refused_at_once_and_in_a_sentence(monkeypatch, named):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        cluster._expect_answer(address)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 0.1)
    monkeypatch.setenv("RAY_ADDRESS", address if named == "variable" else "somewhere:1")
    config = Config(system={"address": address} if named == "option" else {})
    with pytest.raises(UserError, match=f"system.address: wanted .* nothing answers at {address}"):
        cluster.connect(config)


@pytest.mark.parametrize("address", ["", "auto", "local", "ray://nowhere.invalid:10001"])
def test_an_address_that_is_no_host_and_port_is_left_to_ray(address):
    cluster._expect_answer(address)


OURS = Cluster(nodes=1, cpus=8, gpus=0, dashboard="", ours=True)


@pytest.mark.parametrize(
    ("changes", "cluster_changes", "lockstep", "num_actors"),
    [
        ({}, {}, "on", 1),
        ({"num_actors": 4}, {}, "on", 4),
        ({}, {"ours": False}, "off", None),
        ({}, {"gpus": 1}, "off", None),
        ({"system": {"lockstep": "auto", "device": "cpu"}}, {"gpus": 1}, "on", 1),
        ({"self_play": {"num_gpus": 0.1}}, {"gpus": 1}, "off", None),
        ({"replay": {"shards": 2}}, {}, "off", None),
        ({"max_actors": 4}, {}, "off", None),
        ({"system": {"lockstep": "on"}}, {"ours": False}, "on", None),
        ({"system": {"lockstep": "off"}}, {}, "off", None),
    ],
)
def test_lockstep_is_decided_by_where_the_run_is_and_what_is_asked_for(changes, cluster_changes, lockstep, num_actors):
    config = Config.model_validate({"system": {"lockstep": "auto"}, **changes})
    decided = cluster.decide_lockstep(config, replace(OURS, **cluster_changes))
    assert (decided.system.lockstep, decided.num_actors) == (lockstep, num_actors)
    expected = config.model_dump() | {"num_actors": num_actors}
    expected["system"]["lockstep"] = lockstep
    assert decided.model_dump() == expected

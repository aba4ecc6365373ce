"""Where the actors of a run go, from what Ray says of the nodes."""

import pytest

from muzero_ray.app.placement import NODE, ROLE, SELF_PLAY, TRAINER, Placement, place


def node(name: str, role: str | None = None, gpus: float = 0.0, alive: bool = True) -> dict:
    resources = {"CPU": 4.0, **({"GPU": gpus} if gpus else {})}
    labels = {NODE: name, **({ROLE: role} if role else {})}
    return {"NodeID": name, "Alive": alive, "Resources": resources, "Labels": labels}


def test_without_labels_or_gpus_what_is_checkpointed_is_on_the_head():
    assert place([node("a"), node("head"), node("b")], "head", "cpu") == Placement(home="head", head="head")


def test_the_node_with_the_trainers_label_is_preferred_to_the_head():
    nodes = [node("head"), node("a", TRAINER), node("b", SELF_PLAY)]
    assert place(nodes, "head", "cpu").home == "a"
    assert place([node("head", TRAINER), node("a", TRAINER)], "head", "cpu").home == "head"


def test_a_trainer_on_a_gpu_goes_where_one_is_whatever_the_labels_say():
    nodes = [node("head"), node("a", TRAINER), node("b", gpus=1)]
    assert place(nodes, "head", "cuda").home == "b"
    assert place([node("a", gpus=1), node("b", TRAINER, gpus=1)], "head", "cuda").home == "b"
    assert place([node("a", gpus=1), node("head", gpus=1)], "head", "cuda").home == "head"


def test_a_node_that_is_gone_is_nobodys_home():
    assert place([node("a", TRAINER, alive=False), node("head")], "head", "cpu").home == "head"


def selectors(options: dict) -> list[dict[str, str]]:
    return [options["label_selector"], *(other["label_selector"] for other in options["fallback_strategy"])]


def test_self_play_comes_to_the_trainers_node_last():
    assert selectors(Placement("home", "head").work) == [{ROLE: SELF_PLAY}, {NODE: "!home"}, {}]


@pytest.mark.parametrize("kind", ["state", "work", "examination"])
def test_every_actor_may_run_anywhere_in_the_end(kind):
    assert selectors(getattr(Placement("home", "head"), kind))[-1] == {}

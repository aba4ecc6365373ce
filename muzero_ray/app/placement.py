"""Which actor may run on which nodes: what is preferred first, and where else if that is gone or full.

By Ray's label selectors, of which an actor may have several: Ray takes the first that a node with room answers to,
when the actor starts and whenever it is started again. No actor is bound to one node, which may be lost.
`configs/cluster/*.yaml` give nodes the label `muzero-role`; without it all works, as well as it can be known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NODE = "ray.io/node-id"
"""Ray's own label of every node."""
ROLE = "muzero-role"
"""Our label: what a node is for."""
TRAINER = "trainer"
SELF_PLAY = "self-play"


@dataclass(frozen=True)
class Placement:
    """Preferences of all actors, as options for Ray.

    Actors that take no CPU need label selectors more than others: of Ray's scheduling strategies only the strictest
    holds for them.
    """

    home: str  # the node on which trainer, buffer and storage start
    head: str  # the node of this process

    @property
    def state(self) -> dict[str, Any]:
        """Trainer, buffer and storage: together, and together elsewhere if their node is lost."""
        return _prefer({NODE: self.home}, {ROLE: TRAINER}, {NODE: self.head}, {})

    @property
    def work(self) -> dict[str, Any]:
        """Self-play and reanalysis: on nodes made for them, then on any but the trainer's, and there at last."""
        return _prefer({ROLE: SELF_PLAY}, {NODE: f"!{self.home}"}, {})

    @property
    def examination(self) -> dict[str, Any]:
        """The evaluator: on the head, where alone the engines of its opponents need to be."""
        return _prefer({NODE: self.head}, {})


def place(nodes: Sequence[Mapping[str, Any]], head: str, device: str) -> Placement:
    """Finds the node for trainer, buffer and storage.

    Args:
        nodes: as `ray.nodes()` describes them.
        head: id of the node of this process.
        device: the trainer's; for "cuda" only nodes with a GPU come into question.

    Returns:
        The node with the label for trainers, or else the head's if it will do, or else the first that will.
    """
    fit = [node for node in nodes if node["Alive"] and (device == "cpu" or node["Resources"].get("GPU", 0) >= 1)]
    ids = {node["NodeID"]: node["Labels"].get(ROLE) == TRAINER for node in fit}
    home = max(ids, key=lambda node: (ids[node], node == head), default=head)
    return Placement(home, head)


def _prefer(first: dict[str, str], *others: dict[str, str]) -> dict[str, Any]:
    return {"label_selector": first, "fallback_strategy": [{"label_selector": other} for other in others]}

"""Shards of the replay buffer in the test's own process, behind handles such as Ray's."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from muzero_ray.actors import by_reference, replay_shards
from muzero_ray.core.config import Config
from muzero_ray.core.types import Trajectory


class Ref:
    """A reference: what it names comes a moment later."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class LocalShard:
    """The handle of a shard."""

    def __init__(self, config: Config, number: int) -> None:
        self.actor = replay_shards.ShardActor(config, number, None)
        self.ask = SimpleNamespace(remote=self._ask)
        self.asked: list[str] = []

    def _ask(self, method: str, *args: Any) -> tuple[Ref, Ref]:
        self.asked.append(method)
        answer, told = self.actor.ask(method, *(arg.value if isinstance(arg, Ref) else arg for arg in args))
        return Ref(answer), Ref(told)


def use_local_refs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has references be those of this module."""
    fake = SimpleNamespace(get=lambda refs: [ref.value for ref in refs], put=Ref)
    monkeypatch.setattr(by_reference, "ray", fake)
    monkeypatch.setattr(replay_shards, "ray", fake)


def delivery(*trajectories: Trajectory) -> list[Any]:
    """As the head sends it."""
    return [Ref(list(trajectories))]

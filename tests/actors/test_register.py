"""Registering with a storage that dies meanwhile."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError

from muzero_ray.actors import shared_storage


class DyingStorage:
    """Answers so many calls by its death, then numbers."""

    def __init__(self, deaths: int) -> None:
        self.asked: list[str] = []
        self.deaths = deaths
        self.register = SimpleNamespace(remote=self._register)

    def _register(self, name):
        self.asked.append(name)
        return RayActorError() if len(self.asked) <= self.deaths else 3


def get(answer):
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture
def clock(monkeypatch):
    """Time passes only where it is slept away."""
    now = SimpleNamespace(seconds=0.0)

    def sleep(seconds: float) -> None:
        now.seconds += seconds

    monkeypatch.setattr(shared_storage, "ray", SimpleNamespace(get=get))
    monkeypatch.setattr(shared_storage, "time", SimpleNamespace(monotonic=lambda: now.seconds, sleep=sleep))
    return now


def test_a_role_that_starts_while_the_storage_is_restarted_asks_until_it_is_back(clock):
    storage = DyingStorage(deaths=4)
    assert shared_storage.register(storage, "self_play_0") == 3
    assert storage.asked == ["self_play_0"] * 5
    assert clock.seconds == 2.0


def test_a_storage_that_never_comes_back_is_told_in_the_end(clock):
    with pytest.raises(RayActorError):
        shared_storage.register(DyingStorage(deaths=10_000), "self_play_0")
    assert 120 < clock.seconds < 122

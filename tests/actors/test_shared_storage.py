"""Weights reach hundreds of actors as one object: put once for a version, and read where it lies."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
import ray

from muzero_ray.actors import shared_storage
from muzero_ray.actors.shared_storage import SharedStorage, WeightsReader


def test_weights_are_put_once_for_a_version_however_many_ask(monkeypatch):
    put: list = []
    fake = SimpleNamespace(put=lambda weights: put.append(weights) or f"ref {len(put)}", ObjectRef=object)
    monkeypatch.setattr(shared_storage, "ray", fake)

    async def run() -> list:
        storage = SharedStorage()
        found = []
        for version in (20, 40):
            await storage.publish(version, {"w": np.zeros(3)}, {"w": np.ones(3)})
            found.append({await storage.newest(-1) for _ in range(400)})
            assert await storage.newest(version) is None
        return found

    assert asyncio.run(run()) == [{(20, "ref 1")}, {(40, "ref 3")}]
    assert len(put) == 4, "the newest and the target weights of each version"


class Reader:
    """A role that reads weights."""

    def __init__(self, storage) -> None:
        self._weights = WeightsReader(storage)

    def look(self):
        weights = self._weights.read()
        again = self._weights.read()
        return weights["w"].flags.owndata, weights["w"].flags.writeable, float(weights["w"][7]), again


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_all_processes_of_a_node_read_the_same_object_without_a_copy():
    storage = ray.remote(SharedStorage).options(num_cpus=0, max_concurrency=100).remote()
    readers = [ray.remote(Reader).options(num_cpus=0).remote(storage) for _ in range(2)]
    ray.get(storage.publish.remote(20, {"w": np.arange(1e6, dtype=np.float32)}, {"w": np.zeros(1, np.float32)}))
    named = {(version, ref.hex()) for version, ref in ray.get([storage.newest.remote(-1) for _ in range(20)])}
    assert len(named) == 1, "one version, one object"
    for owns, writes, value, again in ray.get([reader.look.remote() for reader in readers]):
        assert (owns, writes, value, again) == (False, False, 7.0, None), "a view of the object store"
    for actor in (storage, *readers):
        ray.kill(actor)

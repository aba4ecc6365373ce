"""How much memory there is and who holds it: in a container what counts is the container."""

import os

import numpy as np
import psutil

from muzero_ray.actors.memory import container_memory, give_back, measure


def write_group(folder, used, limit, cached=0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.stat").write_text(f"anon 1\nactive_file {cached // 2}\ninactive_file {cached // 2}\n")


def test_memory_of_this_process_grows_by_what_it_holds():
    before = measure()
    held = np.ones(40_000_000, dtype=np.uint8)
    after = measure()
    assert 30e6 < after.own - before.own < 60e6
    assert held.sum() == 40_000_000
    assert 0 < after.used <= after.limit <= psutil.virtual_memory().total
    assert after.node == os.uname().nodename


def test_every_group_around_this_one_limits_it(tmp_path):
    write_group(tmp_path / "job", 900, 1000, cached=100)
    write_group(tmp_path / "job" / "step", 500, "max")
    assert container_memory("0::/job/step\n", tmp_path) == [(800, 1000)]
    write_group(tmp_path / "job" / "step", 500, 600)
    assert container_memory("0::/job/step\n", tmp_path) == [(500, 600), (800, 1000)]


def test_root_is_the_own_group_in_a_container(tmp_path):
    write_group(tmp_path, 700, 1000)
    assert container_memory("0::/\n", tmp_path) == [(700, 1000)]


def test_limits_of_the_older_kind_are_read_too(tmp_path):
    group = tmp_path / "memory"
    group.mkdir()
    (group / "memory.usage_in_bytes").write_text("900")
    (group / "memory.limit_in_bytes").write_text("1000")
    (group / "memory.stat").write_text("total_active_file 30\ntotal_inactive_file 70\n")
    assert container_memory("4:memory:/docker/abc\n", tmp_path) == [(800, 1000)]


def test_no_limit_is_none(tmp_path):
    write_group(tmp_path, 700, 9223372036854771712)
    assert container_memory("0::/\n", tmp_path) == []
    assert container_memory("", tmp_path / "nothing") == []


def test_giving_back_leaves_what_is_in_use():
    held = [bytes(5000) for _ in range(1000)]
    give_back()
    assert sum(map(len, held)) == 5_000_000

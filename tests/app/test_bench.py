"""What `muzero-ray bench` says beside its figures; what it measures is the machine's."""

import json

import pytest

from muzero_ray.app import bench


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One row that costs nothing, in an environment that decides nothing."""
    for name in bench._SPEED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bench, "bench_search", lambda: [{"B": 1, "rate": 1200}])


def test_rows_are_a_table_with_a_column_for_each_name(capsys):
    assert bench.main("search", as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == ["B   rate", "1  1,200"]


def test_kernels_that_the_environment_chose_are_told_beside_the_figures(capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("NUMBA_OPT", "")
    bench.main("search", as_json=False)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith("set in the environment: OPENBLAS_CORETYPE=Haswell")
    bench.main("search", as_json=True)
    assert json.loads(capsys.readouterr().out)["environment"] == {"OPENBLAS_CORETYPE": "Haswell"}

"""What a user gets who installs a wheel: the package, its games and their configurations, and nothing beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from reference.tiny_runs import TINY

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_wheel_trains_from_any_folder_and_brings_its_games_inside_the_package(tmp_path):
    def python(*words: str, **options) -> None:
        subprocess.run([sys.executable, *words], check=True, timeout=200, **options)

    built, installed, elsewhere = (tmp_path / name for name in ("built", "installed", "elsewhere"))
    elsewhere.mkdir()
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(built), str(ROOT))
    (wheel,) = built.glob("*.whl")
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel))
    assert not (installed / "games").exists(), "a module of the user's may be called so"
    assert not (installed / "configs").exists()

    (elsewhere / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    program = (
        "import sys, muzero_ray\n"
        "from muzero_ray.app.cli import main\n"
        f"assert muzero_ray.__file__.startswith({str(installed)!r}), muzero_ray.__file__\n"
        "assert main(['games']) == 0\n"
        "assert main(['show-config', '--game', 'tictactoe']) == 0\n"
        "sys.exit(main(['train', '--config', 'tiny.yaml', '--num-actors', '0']))\n"
    )
    python("-c", program, cwd=elsewhere, env={**os.environ, "PYTHONPATH": str(installed)})
    assert len(list(elsewhere.glob("results/cartpole/*/summary.json"))) == 1

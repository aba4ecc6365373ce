"""How this program was started, so that the commands it proposes can be copied and run."""

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "muzero-ray"


def train_command(*words: str) -> str:
    """The command that trains with these words: through `train.py` if that is what was started, else `muzero-ray`.

    Programs that are not on the path, as in an environment that is not activated, are named by their place.
    """
    started = Path(sys.argv[0])
    if started.name == "train.py":
        command = [_program("python", sys.executable), str(started)]
    else:
        command = [_program(PROGRAM, str(Path(sys.executable).with_name(PROGRAM))), "train"]
    return shlex.join([*command, *words])


def _program(name: str, place: str) -> str:
    """A name if it leads to this place, else the place, from the working folder if it lies below."""
    found = shutil.which(name)
    if found is not None and os.path.abspath(found) == os.path.abspath(place):
        return name
    if not os.path.isfile(place):
        return name
    path, here = Path(place), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

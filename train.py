"""Head script: `python train.py --game lunarlander`, or `ray submit cluster.yaml train.py -- --game lunarlander`.

Everything is in the package; this file only gives it a name that a cluster launcher can copy.
"""

import sys

from muzero_ray.app.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

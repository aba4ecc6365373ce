"""MuZero as a Ray-distributed actor/learner system. Start with `train.py`, or with the README's file map."""

__version__ = "0.1.0"

"""The search tree of B positions as arrays, and nothing else: what each number means, and where it lies.

Node 0 is the root and node i is the one reached by simulation i - 1, in every row. An edge is a
node with one of its M candidates, which are the actions that it keeps: all A of them, or the most probable ones.
It leads to one node only, so what belongs to an edge (its reward, its discount) is stored with the node it leads
to. The rules that fill the tree are in `kernels.py`, which know candidates only, by their places 0 to M - 1.
"""

import numpy as np

ROOT = 0
"""Number of the root in every row."""
UNVISITED = -1
"""Child of an edge that no simulation has taken yet."""
FORBIDDEN = -2
"""Child of an edge that none may take: an illegal action of the root."""

# Places in the arrays of a packed tree: edge_counts [2, B, N, M] int32,
CHILD = 0  # node that the edge leads to, or UNVISITED, or FORBIDDEN
EDGE_VISITS = 1  # simulations that took the edge
# edge_values [3, B, N, M] float64,
PRIOR = 0  # the policy's probability; 0 on forbidden edges
LOG_PRIOR = 1  # its logarithm; -inf on forbidden edges
Q = 2  # reward + discount * value of the child, for the player who takes the edge; undefined while unvisited
# node_counts [3, B, N] int32,
PARENT = 0  # the node before this one; undefined for the root
PARENT_ACTION = 1  # the place of the candidate that led here from it
VISITS = 2  # evaluations of this node and of all below it: 1 + the sum of its edge visits
# node_values [4, B, N] float64,
VALUE = 0  # mean of the returns found from here, the model's own value among them, for the player to move
RAW_VALUE = 1  # the model's value, for the player to move
REWARD = 2  # on the edge into this node, for the player who took it
DISCOUNT = 3  # on the edge into this node: the weight of its value there; negative if the mover changed
# row_counts [2, B] int32,
LEAF_PARENT = 0  # the node from which the running simulation leaves the tree
LEAF_ACTION = 1  # and the place there of the candidate by which it does
# row_values [2, B] float64.
LOW = 0  # smallest value that counts when Q is normalised
HIGH = 1  # largest

Packed = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""A tree as kernels receive it. Every argument of a call costs time, so numbers of one shape share an array."""


class Tree:
    """Room for one search at a time; the next search of the same shape may use it again.

    A node is initialised when it is expanded, so a tree needs no clearing between searches.

    Attributes:
        shape: (B, N, A).
        num_candidates: M.
        candidates: `[B, N, M]` int32, the actions of the candidates, rising; None where M is A: then a candidate's
            place is its action.
    """

    def __init__(self, batch_size: int, num_nodes: int, num_actions: int, max_candidates: int | None = None) -> None:
        """Allocates for B = `batch_size`, N = `num_nodes` (simulations + 1) and A = `num_actions`.

        `max_candidates` bounds M; none: M is A.
        """
        self.shape = (batch_size, num_nodes, num_actions)
        self.num_candidates = num_actions if max_candidates is None else min(num_actions, max_candidates)
        nodes, edges = (batch_size, num_nodes), (batch_size, num_nodes, self.num_candidates)
        self.candidates = np.zeros(edges, np.int32) if self.num_candidates < num_actions else None
        self.kept_logits = np.zeros((batch_size, self.num_candidates), np.float32)
        self.edge_counts = np.zeros((2, *edges), np.int32)
        self.edge_values = np.zeros((3, *edges), np.float64)
        self.node_counts = np.zeros((3, *nodes), np.int32)
        self.node_values = np.zeros((4, *nodes), np.float64)
        self.row_counts = np.zeros((2, batch_size), np.int32)
        self.row_values = np.zeros((2, batch_size), np.float64)

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        arrays = (*self.packed, self.kept_logits, *([] if self.candidates is None else [self.candidates]))
        return sum(array.nbytes for array in arrays)

    def root_actions(self, places: np.ndarray) -> np.ndarray:
        """`[B]` int32: the actions of candidates of the roots, by their `[B]` places."""
        if self.candidates is None:
            return places
        actions: np.ndarray = self.candidates[np.arange(len(places)), ROOT, places]
        return actions

    def leaf_actions(self) -> np.ndarray:
        """`[B]` int32: the actions by which the running simulation leaves the tree."""
        places: np.ndarray = self.row_counts[LEAF_ACTION]
        if self.candidates is None:
            return places
        actions: np.ndarray = self.candidates[np.arange(len(places)), self.row_counts[LEAF_PARENT], places]
        return actions

    def over_actions(self, of_candidates: np.ndarray) -> np.ndarray:
        """`[B, M]` numbers of the candidates of the roots as `[B, A]` numbers of their actions, 0 for all others."""
        if self.candidates is None:
            return of_candidates.copy()
        spread = np.zeros((self.shape[0], self.shape[2]), of_candidates.dtype)
        np.put_along_axis(spread, self.candidates[:, ROOT], of_candidates, axis=1)
        return spread

    @property
    def packed(self) -> Packed:
        """The arrays as one argument for a kernel."""
        return (
            self.edge_counts,
            self.edge_values,
            self.node_counts,
            self.node_values,
            self.row_counts,
            self.row_values,
        )

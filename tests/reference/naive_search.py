"""Both searches for one position, with a tree of objects and the formulas as the papers write them.

Slow and plain on purpose: every quantity is computed anew where it is used. Shares nothing with `muzero_ray.mcts`.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from reference.fake_models import TableModel


@dataclass
class Node:
    """A state of the table, with what the search knows of it."""

    state: int
    raw_value: float
    logits: list[float]
    legal: list[int]
    returns: list[float] = field(default_factory=list)  # of every simulation through here, its own value first
    edges: dict[int, "Edge"] = field(default_factory=dict)

    @property
    def value(self) -> float:
        return sum(self.returns) / len(self.returns)

    def visits(self, action: int) -> int:
        return self.edges[action].visits if action in self.edges else 0

    def q(self, action: int) -> float:
        edge = self.edges[action]
        return edge.reward + edge.discount * edge.child.value

    def priors(self) -> list[float]:
        highest = max(self.logits[a] for a in self.legal)
        weights = [math.exp(x - highest) if a in self.legal else 0.0 for a, x in enumerate(self.logits)]
        return [weight / sum(weights) for weight in weights]


@dataclass
class Edge:
    reward: float
    discount: float
    child: Node
    visits: int = 0


@dataclass
class NaiveSearch:
    """One search; `run_gumbel` or `run_puct` may be called once.

    `normalization` is "tree", "bounds" or "node"; `bounds` counts with "bounds" only.
    """

    model: TableModel
    state: int
    legal: np.ndarray  # [A] bool
    num_simulations: int
    normalization: str
    q_floor: float = 0.01
    bounds: tuple[float, float] = (-1.0, 1.0)
    max_candidates: int | None = None  # actions that a node below the root keeps

    def __post_init__(self) -> None:
        self.root = self.node(self.state, [a for a, allowed in enumerate(self.legal) if allowed])
        self.seen = [self.root.raw_value]  # values that stretch the range of the tree

    def node(self, state: int, legal: list[int]) -> Node:
        value = float(self.model.values[state])
        return Node(state, value, [float(x) for x in self.model.policy_logits[state]], legal, [value])

    def likeliest(self, state: int, actions) -> list[int]:
        """The `max_candidates` actions of the highest logits, rising."""
        by_logit = sorted(actions, key=lambda action: -self.model.policy_logits[state, action])
        return sorted(by_logit[: self.max_candidates])

    def simulate(self, choose) -> None:
        """Walks to a new edge by `choose(node)`, adds its node, and hands the return up the path."""
        path = []
        node = self.root
        while True:
            action = choose(node)
            path.append((node, action))
            if action not in node.edges:
                break
            node = node.edges[action].child
        reached = int(self.model.next_states[node.state, action])
        node.edges[action] = Edge(
            reward=float(self.model.rewards[node.state, action]),
            discount=float(self.model.discounts[node.state, action]),
            child=self.node(reached, self.likeliest(reached, range(len(self.legal)))),
        )
        result = node.edges[action].child.raw_value
        for node, action in reversed(path):
            edge = node.edges[action]
            edge.visits += 1
            self.seen.append(node.q(action))
            result = edge.reward + edge.discount * result
            node.returns.append(result)

    def normalized(self, values: list[float], at_node: list[float]) -> list[float]:
        """Brings values to [0, 1] by the range of the tree, of the bounds, or of the values `at_node`."""
        if self.normalization == "node":
            low, span = min(at_node), max(max(at_node) - min(at_node), 1e-8)
        elif self.normalization == "tree":
            low, span = min(self.seen), max(max(self.seen) - min(self.seen), self.q_floor)
        else:
            low, span = self.bounds[0], self.bounds[1] - self.bounds[0]
        return [(value - low) / span for value in values]

    # Gumbel MuZero.

    def run_gumbel(self, gumbel: np.ndarray, max_considered: int, c_visit: float, c_scale: float) -> "GumbelOutcome":
        self.c_visit, self.c_scale = c_visit, c_scale
        plan = halving_plan(min(max_considered, len(self.root.legal)), self.num_simulations)
        for considered in plan:

            def choose(node: Node, considered: int = considered) -> int:
                if node is self.root:
                    return self.best_at_root(gumbel, considered)
                improved = self.improved(node)
                total = sum(edge.visits for edge in node.edges.values())
                return max(node.legal, key=lambda a: improved[a] - node.visits(a) / (1 + total))

            self.simulate(choose)
        most = max(self.root.visits(a) for a in self.root.legal)
        visits = [self.root.visits(a) for a in range(len(self.legal))]
        return GumbelOutcome(self.best_at_root(gumbel, most), visits, self.improved(self.root), self.root.value)

    def sigma(self, node: Node) -> list[float]:
        """sigma of the completed Q of every action."""
        actions = range(len(node.logits))
        priors = node.priors()
        total = sum(node.visits(a) for a in actions)
        mixed = node.raw_value
        if total:
            mass = sum(priors[a] for a in node.edges)
            average = sum(priors[a] * node.q(a) for a in node.edges) / mass
            mixed = (node.raw_value + total * average) / (1 + total)
        completed = [node.q(a) if a in node.edges else mixed for a in actions]
        most = max(node.visits(a) for a in actions)
        return [(self.c_visit + most) * self.c_scale * q for q in self.normalized(completed, completed)]

    def improved(self, node: Node) -> list[float]:
        scores = [x + s for x, s in zip(node.logits, self.sigma(node), strict=True)]
        highest = max(scores[a] for a in node.legal)
        weights = [math.exp(x - highest) if a in node.legal else 0.0 for a, x in enumerate(scores)]
        return [weight / sum(weights) for weight in weights]

    def best_at_root(self, gumbel: np.ndarray, considered: int) -> int:
        sigma = self.sigma(self.root)
        candidates = [a for a in self.root.legal if self.root.visits(a) == considered]
        return max(candidates, key=lambda a: gumbel[a] + self.root.logits[a] + sigma[a])

    # pUCT.

    def run_puct(
        self, dirichlet: np.ndarray, fraction: float, pb_c_init: float = 1.25, pb_c_base: float = 19652.0
    ) -> tuple[list[int], float]:
        """Returns the visits of the root's actions, and its value."""

        def choose(node: Node) -> int:
            priors = node.priors()
            if node is self.root:
                priors = [(1 - fraction) * p + fraction * d for p, d in zip(priors, dirichlet, strict=True)]
            known = [node.value] + [node.q(a) for a in node.edges]
            completed = [node.q(a) if a in node.edges else min(known) for a in range(len(node.logits))]
            qvalues = self.normalized(completed, known)
            visits = len(node.returns)
            c = pb_c_init + math.log((visits + pb_c_base + 1) / pb_c_base)
            return max(node.legal, key=lambda a: qvalues[a] + c * priors[a] * math.sqrt(visits) / (1 + node.visits(a)))

        for _ in range(self.num_simulations):
            self.simulate(choose)
        return [self.root.visits(a) for a in range(len(self.legal))], self.root.value


@dataclass
class GumbelOutcome:
    action: int
    visits: list[int]
    policy: list[float]
    root_value: float


def halving_plan(num_considered: int, num_simulations: int) -> list[int]:
    """How often the action that each simulation may take has been visited, by keeping the survivors' counts."""
    if num_considered == 1:
        return list(range(num_simulations))
    plan: list[int] = []
    counts = [0] * num_considered
    phases = math.ceil(math.log2(num_considered))
    while len(plan) < num_simulations:
        each = max(1, math.floor(num_simulations / (phases * len(counts))))
        for _ in range(each):
            for i in range(len(counts)):
                plan.append(counts[i])
                counts[i] += 1
        counts = counts[: max(2, len(counts) // 2)]
    return plan[:num_simulations]

"""A tree of partial solutions: a node is the tokens up to the end of a step. Which leaf is looked at next, and why.

PUCT (Silver et al. 2017, "Mastering the game of Go without human knowledge", methods): the child with the largest
Q + c P sqrt(N_parent) / (1 + N). UCT (Kocsis and Szepesvari 2006): Q + c sqrt(ln N_parent / N), unvisited ones first.
Two things are other than in games: a child is scored when it is sampled, so that Q of an unvisited one is its own
value; and what can teach nothing more (a finished solution that was visited, a node all of whose children are so) is
closed and not entered again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

End = Literal["open", "whole", "cut"]  # can go on; ended by the policy; ended by the length limit


@dataclasses.dataclass(eq=False)
class Node:
    """The prefix of a solution.

    Attributes:
      tokens: of the last step alone.
      prior: the policy's share of this child among its siblings.
      value: the value model's probability that it comes out right.
      visits, total: how often a visit ended at the node or below, and the sum of the values found there.
    """

    tokens: tuple[int, ...] = ()
    prior: float = 1.0
    value: float = 0.0
    end: End = "open"
    parent: Node | None = None
    children: list[Node] = dataclasses.field(default_factory=list)
    visits: int = 0
    total: float = 0.0
    closed: bool = False

    @property
    def mean(self) -> float:
        """Q: the mean of the values found, before the first visit the node's own."""
        return self.total / self.visits if self.visits else self.value

    @property
    def path(self) -> list[Node]:
        """The nodes from the first step to this one, without the root."""
        nodes: list[Node] = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    @property
    def solution(self) -> tuple[int, ...]:
        """All tokens up to here."""
        return tuple(token for node in self.path for token in node.tokens)

    @property
    def below(self) -> Iterator[Node]:
        """The node and all below it, parents first."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)


def puct(node: Node, exploration: float) -> float:
    """What a child is worth looking at."""
    return node.mean + exploration * node.prior * math.sqrt(node.parent.visits) / (1 + node.visits)


def uct(node: Node, exploration: float) -> float:
    """The same without a prior; infinite for a child that was never visited."""
    if not node.visits:
        return math.inf
    return node.mean + exploration * math.sqrt(math.log(node.parent.visits) / node.visits)


WORTH: dict[str, Callable[[Node, float], float]] = {"puct": puct, "uct": uct}


def select(root: Node, rule: str, exploration: float) -> Node | None:
    """The leaf to expand next, by `rule` of WORTH; None where all is closed.

    A finished solution that is met on the way is visited (which costs nothing) and closed. Of equal worth the one
    with the higher value is taken, then the first.
    """
    worth = WORTH[rule]
    while not root.closed:
        node = root
        while node.children:
            node = max(
                (child for child in node.children if not child.closed),
                key=lambda child: (worth(child, exploration), child.value),
            )
        if node.end == "open":
            return node
        visit(node)
    return None


def expand(node: Node, children: Sequence[Node]) -> None:
    """Hangs the children, at least one, below a leaf, and counts a visit of it."""
    assert children, "an expansion has children"
    assert node.end == "open", "a finished solution has no children"
    assert not node.children, "a leaf is expanded once"
    for child in children:
        child.parent = node
        node.children.append(child)
    visit(node)


def visit(node: Node) -> None:
    """Adds the node's value to it and to all above it; closes what has nothing left to look at."""
    above: Node | None = node
    while above is not None:
        above.visits += 1
        above.total += node.value
        above = above.parent
    if node.end != "open":
        node.closed = True
        above = node.parent
        while above is not None and all(child.closed for child in above.children):
            above.closed = True
            above = above.parent


def priors(logps: Sequence[float]) -> list[float]:
    """The policy's shares among sampled steps of these log-probabilities (nats): exact, renormalised over them."""
    highest = max(logps)
    weights = [math.exp(logp - highest) for logp in logps]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def best_of_level(nodes: Sequence[Node], beam: int) -> list[Node]:
    """The `beam` nodes of the highest value, in the order of `nodes`: what a beam search keeps of a level."""
    ranked = sorted(range(len(nodes)), key=lambda number: (-nodes[number].value, number))[:beam]
    return [nodes[number] for number in sorted(ranked)]


def outcome_shares(root: Node, right: Callable[[Node], bool | None]) -> dict[Node, tuple[int, int]]:
    """For each node but the root, of the finished solutions at it or below: how many are right, out of how many.

    `right` says it of a finished one; None leaves it out. Nodes without any are not there.
    """
    counts: dict[Node, list[int]] = {}
    for leaf in root.below:
        verdict = None if leaf.end == "open" else right(leaf)
        if verdict is not None:
            for node in leaf.path:
                count = counts.setdefault(node, [0, 0])
                count[0] += int(verdict)
                count[1] += 1
    return {node: tuple(counts[node]) for node in root.below if node in counts}

"""Grows the trees of many prompts side by side: each round all trees' expansions are sampled and scored together.

What samples and what scores is handed in, so that the search itself is plain Python and the same for any policy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from r1jax.search.tree import End, Node, best_of_level, expand, priors, select


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a tree grows; the fields are those of r1jax.config.SearchConfig."""

    method: str  # puct, uct or beam
    width: int
    simulations: int
    beam: int = 1
    exploration: float = 1.0
    max_tokens: int | None = None
    policy_prior: bool = True


class Step(NamedTuple):
    """A sampled next step."""

    tokens: tuple[int, ...]
    logp: float  # nats, of all its tokens
    end: End
    spent: int  # tokens generated for it, with those cut off behind its end


class Wanted(NamedTuple):
    """`count` next steps of the tree number `tree`, to be sampled at `node`; `slot` parts the wishes of one tree."""

    tree: int
    slot: int
    node: Node
    count: int


@dataclasses.dataclass
class Tree:
    """The search of one prompt: what has grown, and what it has cost."""

    root: Node = dataclasses.field(default_factory=Node)
    level: list[Node] = dataclasses.field(default_factory=list)  # of a beam: what is left to expand
    expansions: int = 0
    generated: int = 0  # tokens
    rounds: int = 0  # in which it was expanded

    @property
    def leaves(self) -> list[Node]:
        """Finished solutions, those cut by the length limit among them."""
        return [node for node in self.root.below if node.end != "open"]

    @property
    def solved(self) -> bool:
        """Whether the policy has ended a solution."""
        return any(node.end == "whole" for node in self.root.below)


Propose = Callable[[int, Sequence[Wanted]], Sequence[Sequence[Step]]]  # the round's number, what is wanted
Evaluate = Callable[[Sequence[tuple[int, Node]]], Sequence[float]]  # (tree number, node): values in [0, 1]


def grow(count: int, rule: Rule, propose: Propose, evaluate: Evaluate) -> list[Tree]:
    """`count` trees, each grown until nothing is open or its budget is spent, and with a solution in each.

    A tree that has spent its budget without one is continued from its best leaf, a step at a time, to an end.
    """
    trees = [Tree() for _ in range(count)]
    for tree in trees:
        tree.level = [tree.root]
    rounds = 0
    while wanted := [one for number, tree in enumerate(trees) for one in _next(number, tree, rule)]:
        _expand(trees, wanted, propose(rounds, wanted), evaluate, rule)
        rounds += 1
    playing = {number: _best_open(tree) for number, tree in enumerate(trees) if not tree.solved}
    while wanted := [Wanted(number, 0, node, 1) for number, node in playing.items() if node is not None]:
        _expand(trees, wanted, propose(rounds, wanted), evaluate, rule)
        rounds += 1
        playing = {one.tree: one.node.children[0] if one.node.children[0].end == "open" else None for one in wanted}
    return trees


def _next(number: int, tree: Tree, rule: Rule) -> list[Wanted]:
    """What the tree wants sampled in this round; [] where it is done."""
    if tree.expansions >= rule.simulations or (rule.max_tokens is not None and tree.generated >= rule.max_tokens):
        return []
    if rule.method == "beam":
        left = tree.level[: rule.simulations - tree.expansions]
        return [
            Wanted(number, slot, node, rule.width * (rule.beam if node is tree.root else 1))
            for slot, node in enumerate(left)
        ]
    leaf = select(tree.root, rule.method, rule.exploration)
    return [] if leaf is None else [Wanted(number, 0, leaf, rule.width)]


def _expand(
    trees: Sequence[Tree], wanted: Sequence[Wanted], found: Sequence[Sequence[Step]], evaluate: Evaluate, rule: Rule
) -> None:
    grown = []
    for one, steps in zip(wanted, found, strict=True):
        tree = trees[one.tree]
        tree.expansions += 1
        tree.generated += sum(step.spent for step in steps)
        distinct = list({step.tokens: step for step in steps}.values())
        shares = priors([step.logp for step in distinct]) if rule.policy_prior else [1 / len(distinct)] * len(distinct)
        children = [
            Node(step.tokens, prior=share, end=step.end, parent=one.node)
            for step, share in zip(distinct, shares, strict=True)
        ]
        grown.append((one, children))
    news = [(one.tree, child) for one, children in grown for child in children]
    for (_, child), value in zip(news, evaluate(news), strict=True):
        child.value = value
    levels: dict[int, list[Node]] = {}
    for one, children in grown:
        expand(one.node, children)
        levels.setdefault(one.tree, []).extend(children)
    for number, level in levels.items():
        trees[number].rounds += 1
        trees[number].level = [node for node in best_of_level(level, rule.beam) if node.end == "open"]


def _best_open(tree: Tree) -> Node | None:
    """The open leaf with the highest value; None where all are finished."""
    leaves = [node for node in tree.root.below if node.end == "open" and not node.children]
    return max(leaves, key=lambda node: node.value, default=None)

"""The tree of a search: what it looks at next by hand-worked figures, what always holds, and that it finds the best."""

import math
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.search.growing import Rule, Step, grow
from r1jax.search.tree import Node, best_of_level, expand, outcome_shares, priors, puct, select, uct, visit


def children(*values_and_priors, end="open") -> list[Node]:
    return [
        Node((number,), prior=prior, value=value, end=end) for number, (value, prior) in enumerate(values_and_priors)
    ]


def test_puct_weighs_value_against_the_policy_s_share():
    root = Node()
    first, second = children((0.6, 0.2), (0.3, 0.8))
    expand(root, [first, second])
    # N(root) = 1, both unvisited, Q their own value: 0.6 + 1 x 0.2 x 1 / 1 = 0.8; 0.3 + 0.8 = 1.1
    assert puct(first, 1.0) == pytest.approx(0.8)
    assert puct(second, 1.0) == pytest.approx(1.1)
    assert select(root, "puct", 1.0) is second
    # With c = 0.25: 0.65 and 0.5.
    assert select(root, "puct", 0.25) is first
    expand(second, children((0.1, 0.5), (0.9, 0.5)))
    # N(root) = 2, N(second) = 1, Q(second) = 0.3: 0.6 + 0.2 sqrt 2 = 0.8828; 0.3 + 0.8 sqrt 2 / 2 = 0.8657
    assert puct(first, 1.0) == pytest.approx(0.6 + 0.2 * math.sqrt(2))
    assert puct(second, 1.0) == pytest.approx(0.3 + 0.4 * math.sqrt(2))
    assert select(root, "puct", 1.0) is first
    # With c = 2: 0.6 + 0.5657 = 1.1657 and 0.3 + 1.1314 = 1.4314; below it 0.9 + 2 x 0.5 x 1 / 1 against 0.1 + 1.
    assert select(root, "puct", 2.0) is second.children[1]


def test_what_is_found_below_changes_the_mean_above():
    root = Node(value=0.5)
    (only,) = children((0.4, 1.0))
    expand(root, [only])
    low, high = children((0.2, 0.5), (0.9, 0.5))
    expand(only, [low, high])
    expand(high, children((0.7, 1.0)))
    # Visits of `only`: its own expansion (0.4) and that of `high` (0.9).
    assert (only.visits, only.total) == (2, pytest.approx(1.3))
    assert only.mean == pytest.approx(0.65)
    assert (root.visits, root.total) == (3, pytest.approx(0.5 + 0.4 + 0.9))
    assert low.mean == 0.2  # never visited: its own value


def test_uct_looks_at_every_child_once_and_then_by_the_formula():
    root = Node()
    first, second = children((0.9, 0.5), (0.2, 0.5))
    expand(root, [first, second])
    assert uct(first, 1.0) == math.inf
    assert select(root, "uct", 1.0) is first  # of two unvisited ones the better
    expand(first, children((0.9, 1.0)))
    assert select(root, "uct", 1.0) is second
    expand(second, children((0.2, 1.0)))
    # N(root) = 3, each child once: 0.9 + sqrt(ln 3) and 0.2 + sqrt(ln 3).
    assert uct(first, 1.0) == pytest.approx(0.9 + math.sqrt(math.log(3)))
    assert uct(second, 0.5) == pytest.approx(0.2 + 0.5 * math.sqrt(math.log(3)))


def test_a_finished_solution_is_visited_once_and_then_closed():
    root = Node()
    done = Node((1,), prior=0.5, value=0.8, end="whole")
    going = Node((2,), prior=0.5, value=0.7)
    expand(root, [done, going])
    assert select(root, "puct", 0.1) is going  # `done` came first: it was visited on the way
    assert (done.visits, done.closed, root.visits) == (1, True, 2)
    assert root.total == pytest.approx(0.0 + 0.8)
    expand(going, [Node((3,), value=0.1, end="cut")])
    assert select(root, "puct", 0.1) is None
    assert root.closed


def test_priors_are_the_policy_s_probabilities_among_what_was_sampled():
    assert priors([math.log(0.1), math.log(0.3)]) == pytest.approx([0.25, 0.75])
    assert priors([-3000.0, -3001.0]) == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)])  # no underflow


def test_a_beam_keeps_the_best_of_a_level_in_their_order():
    nodes = children((0.1, 1), (0.5, 1), (0.3, 1), (0.5, 1))
    assert [node.tokens for node in best_of_level(nodes, 2)] == [(1,), (3,)]
    assert [node.tokens for node in best_of_level(nodes, 3)] == [(1,), (2,), (3,)]
    assert best_of_level(nodes, 9) == nodes


def test_prefixes_are_told_by_the_solutions_below_them():
    root = Node()
    left, right = children((0.5, 0.5), (0.5, 0.5))
    expand(root, [left, right])
    a, b, c = children((0.5, 0.3), (0.5, 0.3), (0.5, 0.4), end="whole")
    expand(left, [a, b, c])
    verdict = {a: True, b: False, c: None}
    shares = outcome_shares(root, verdict.__getitem__)
    assert shares == {left: (1, 2), a: (1, 1), b: (0, 1)}  # c could not be graded; nothing is known of `right`


# A toy: solutions are DEPTH letters, and the value of a prefix is the share of WANTED's letters it has right so far,
# with what can still come. The search must find WANTED without trying all 3^4 solutions.
DEPTH, LETTERS = 4, 3
WANTED = (2, 0, 1, 2)


def propose_all(rounds, wanted):
    """All letters, each as likely; the last one ends the solution."""
    return [
        [
            Step((letter,), math.log(1 / LETTERS), "whole" if len(one.node.path) == DEPTH - 1 else "open", 1)
            for letter in range(one.count if one.count < LETTERS else LETTERS)
        ]
        for one in wanted
    ]


def true_value(asked):
    """1 of a prefix of WANTED, less for each letter that is wrong."""
    return [1 - sum(a != b for a, b in zip(node.solution, WANTED, strict=False)) / DEPTH for _, node in asked]


@pytest.mark.parametrize("method", ["puct", "uct", "beam"])
def test_with_a_true_value_the_search_finds_the_best_solution_in_a_few_expansions(method):
    # UCT looks at every sibling once before it goes deeper: it needs the most, still far fewer than all 40 prefixes.
    budget = {"puct": DEPTH, "beam": DEPTH, "uct": 25}[method]
    rule = Rule(method, width=LETTERS, simulations=budget, beam=1, exploration=0.1)
    (tree,) = grow(1, rule, propose_all, true_value)
    best = max(tree.leaves, key=lambda leaf: leaf.value)
    assert best.solution == WANTED
    assert best.value == 1.0
    assert tree.expansions <= budget


def test_a_wrong_value_leads_astray_and_more_looking_finds_the_way_back():
    """A trap: the value praises a wrong first letter. A beam of 1 stays in it; PUCT leaves it."""

    def trapped(asked):
        return [
            0.9 if node.solution == (0,) else 0.0 if node.solution[0] == 0 else 0.8 * value
            for (_, node), value in zip(asked, true_value(asked), strict=True)
        ]

    def found(rule):
        (tree,) = grow(1, rule, propose_all, trapped)
        return max(tree.leaves, key=lambda leaf: leaf.value).solution

    assert found(Rule("beam", width=LETTERS, simulations=99, beam=1)) != WANTED
    assert found(Rule("beam", width=LETTERS, simulations=99, beam=2)) == WANTED
    assert found(Rule("puct", width=LETTERS, simulations=12, exploration=0.5)) == WANTED


def test_a_tree_whose_budget_is_spent_is_still_led_to_a_solution():
    for rule in (
        Rule("puct", width=2, simulations=1),
        Rule("puct", width=3, simulations=50, max_tokens=4),
        Rule("beam", width=3, simulations=1, beam=2),
    ):
        (tree,) = grow(1, rule, propose_all, true_value)
        assert tree.solved
        assert tree.rounds <= 2 + DEPTH


def test_trees_grow_side_by_side_as_they_would_alone():
    rule = Rule("puct", width=3, simulations=6, exploration=0.3)

    def value(asked):
        return [((sum(node.solution) * 7 + len(node.path)) % 5) / 5 for _, node in asked]

    def shape(tree):
        return [(node.solution, node.visits, round(node.total, 9)) for node in tree.root.below]

    (alone,) = grow(1, rule, propose_all, value)
    together = grow(3, rule, propose_all, value)
    assert [shape(tree) for tree in together] == [shape(alone)] * 3


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    method=st.sampled_from(["puct", "uct", "beam"]),
    width=st.integers(1, 4),
    simulations=st.integers(1, 20),
    beam=st.integers(1, 3),
    exploration=st.floats(0, 4),
    max_tokens=st.none() | st.integers(1, 60),
    policy_prior=st.booleans(),
)
def test_what_holds_of_every_tree(seed, method, width, simulations, beam, exploration, max_tokens, policy_prior):
    def draw(*names) -> float:
        return zlib.crc32(repr((seed, *names)).encode()) / 2**32

    def propose(number, wanted):
        found = []
        for one in wanted:
            path = one.node.solution
            steps = []
            for sample in range(one.count):
                letter = int(draw(path, sample, number) * 3)  # equal ones come: they are one child
                ends = len(path) >= 4 or draw(path, letter, "end") < 0.3
                steps.append(Step((letter,), math.log(0.1 + draw(path, letter)), "whole" if ends else "open", 2))
            found.append(steps)
        return found

    def evaluate(asked):
        return [draw(node.solution, "value") for _, node in asked]

    rule = Rule(method, width, simulations, beam, exploration, max_tokens, policy_prior)
    for tree in grow(2, rule, propose, evaluate):
        nodes = list(tree.root.below)
        assert tree.solved
        for node in nodes:
            assert all(child.parent is node for child in node.children)
            assert len({child.tokens for child in node.children}) == len(node.children)
            if node.children:
                assert node.end == "open"
                assert math.isclose(sum(child.prior for child in node.children), 1.0)
                # One visit of its own, when it was expanded; all others went on below.
                assert node.visits == 1 + sum(child.visits for child in node.children)
                assert math.isclose(node.total, node.value + sum(child.total for child in node.children))
                assert node.closed == all(child.closed for child in node.children)
            else:
                assert node.visits == (1 if node.closed else 0)
            assert 0 <= node.mean <= 1
        expanded = [node for node in nodes if node.children]
        assert len(expanded) == tree.expansions
        assert 2 * tree.expansions <= tree.generated <= 2 * tree.expansions * width * beam


def test_visits_need_no_recursion():
    node = root = Node()
    for depth in range(5000):
        (child,) = children((depth / 5000, 1.0))
        expand(node, [child])
        node = child
    node.end = "whole"
    visit(node)
    assert root.closed
    assert root.visits == 5001
    assert len(node.path) == 5000

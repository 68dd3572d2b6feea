"""Trees of drafts: ranks that no text holds, sizes that no tree has."""

import math

import pytest

from gpt4lib.simulate.speculation import best_tree, tree_tokens
from gpt4lib.spine.errors import BadInput


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 50])
def test_a_node_whose_rank_no_text_holds_is_never_reached(rank):
    """Not even where the path, read as digits, would be another one."""
    ranks = [[0, 0, 0, 0, 0, 1]]
    assert tree_tokens(ranks, {(rank,): 1, (rank, 0): 1}) == 1
    assert tree_tokens(ranks, {(0,): 1, (rank + 1,): 1, (0, rank + 1): 1}) == 2


def test_paths_of_any_depth_are_told_apart():
    """A path is no number of 64 bits: sixteen ranks of up to 61 differ in the first and in the last."""
    ranks = [[61] * 15 + [last] for last in (0, 1, 61)]
    chain = {(61,) * n: 1 for n in range(1, 17)}
    assert tree_tokens(ranks, chain) == pytest.approx(1 + (15 * 3 + 1) / 3)


@pytest.mark.parametrize("nodes", [math.inf, 2.0, 0, -1, True])
def test_a_tree_has_a_whole_number_of_nodes(nodes):
    with pytest.raises(BadInput, match=f"nodes takes a positive whole number, got {nodes}"):
        best_tree([0.6, 0.2], nodes)

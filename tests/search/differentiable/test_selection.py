"""Reading architectures off mixtures: hand-made cases, ties, and the signs of a collapse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genas.errors import TrainingDiverged
from genas.search.differentiable.selection import ArgMax, Collapse, TopTwo, selection_for
from genas.spaces import DARTS, NASBench201, space
from genas.supernet.mixtures import Mixture

UNIFORM = 1 / 8


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def darts_mixture(
    weights: dict[tuple[int, int], float], candidates: int = 8, edges: list[float] | None = None
) -> Mixture:
    """All weights 0.01 but those given, by edge and column."""
    operations = torch.full((14, candidates), 0.01, dtype=torch.float64)
    for place, weight in weights.items():
        operations[place] = weight
    return Mixture(operations, None if edges is None else torch.tensor(edges, dtype=torch.float64))


def test_argmax_takes_the_largest_weight_none_among_them_and_the_first_of_equals() -> None:
    mixture = Mixture(
        rows(
            [0.6, 0.1, 0.1, 0.1, 0.1],
            [0.2, 0.2, 0.2, 0.2, 0.2],
            [0.0, 0.3, 0.1, 0.3, 0.3],
            [0.1, 0.1, 0.1, 0.1, 0.6],
            [0.0, 0.0, 1.0, 0.0, 0.0],
            [0.1, 0.1, 0.1, 0.4, 0.3],
        )
    )
    assert ArgMax().select(NASBench201(), [mixture]) == (0, 0, 1, 4, 2, 3)


def test_argmax_does_not_look_at_edge_weights() -> None:
    mixture = Mixture(torch.eye(5)[[1, 2, 3, 4, 0, 1]], torch.zeros(6))
    assert ArgMax().select(NASBench201(), [mixture]) == (1, 2, 3, 4, 0, 1)


def test_top_two_keeps_two_edges_of_each_node_and_never_none() -> None:
    weights = {(0, 0): 0.9, (0, 3): 0.05, (1, 4): 0.2}  # node 2 has two inputs: both stay, none is not looked at
    weights |= {(2, 1): 0.3, (3, 0): 0.9, (3, 2): 0.29, (4, 7): 0.4}  # node 3: edges 4 and 2; none's 0.9 does not count
    weights |= {(5, 5): 0.1, (6, 5): 0.3, (7, 6): 0.2, (8, 6): 0.25}  # node 4: edges 6 and 8
    weights |= {(13, 7): 0.5, (9, 1): 0.4}  # node 5: edges 9 and 13
    mixture = darts_mixture(weights)
    genes = TopTwo().select(DARTS(), [mixture, mixture])
    assert genes[:14] == (3, 4, 1, 0, 7, 0, 5, 0, 6, 1, 0, 0, 0, 7)
    assert genes[14:] == genes[:14]


def test_top_two_ties_go_to_the_first_operation_and_the_first_edges() -> None:
    mixture = darts_mixture({})
    assert TopTwo().select(DARTS(), [mixture, mixture])[:14] == (1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0)


def test_edge_weights_multiply_the_scores_of_edges() -> None:
    """Node 3 has edges 2, 3, 4; by operation weights 2 and 3 would stay."""
    weights = {(2, 3): 0.5, (3, 3): 0.4, (4, 3): 0.3}
    plain, scaled = darts_mixture(weights), darts_mixture(weights, edges=[1.0, 1.0, 0.2, 0.3, 0.5] + [0.2] * 9)
    assert TopTwo().select(DARTS(), [plain, plain])[2:5] == (3, 3, 0)
    assert TopTwo().select(DARTS(), [scaled, scaled])[2:5] == (0, 3, 3)


@pytest.mark.parametrize("name", ["darts7", "s1", "s2", "s3", "s4"])
def test_columns_belong_to_the_candidates_of_their_edge(name: str) -> None:
    """With the last column largest everywhere every live gene is the last candidate of its own edge."""
    found = space(name)
    count = len(found.candidates[0])
    operations = torch.zeros(14, count)
    operations[:, -1] = 1
    genes = TopTwo().select(found, [Mixture(operations), Mixture(operations)])
    live = [(gene, edge) for gene, edge in zip(genes, found.candidates, strict=True) if gene]
    assert len(live) == 16
    assert all(gene == edge[-1] for gene, edge in live)


def test_random_mixtures_give_valid_architectures_of_the_largest_scores() -> None:
    rng = np.random.default_rng(0)
    found = DARTS()
    for _ in range(20):
        mixtures = [Mixture(torch.from_numpy(rng.dirichlet(np.ones(8), size=14))) for _ in range(2)]
        genes = found.check(TopTwo().select(found, mixtures))
        for part, mixture in zip(found.split(genes), mixtures, strict=True):
            best = mixture.operations[:, 1:].amax(dim=1)
            for first, last in ((0, 2), (2, 5), (5, 9), (9, 14)):
                kept = {edge for edge in range(first, last) if part[edge]}
                assert kept == set((first + torch.topk(best[first:last], 2).indices).tolist())


def test_each_space_gets_its_selection() -> None:
    assert selection_for(NASBench201()) == ArgMax()
    assert selection_for(space("s2")) == TopTwo()


def test_collapse_counts() -> None:
    found = NASBench201()
    operations = torch.eye(5)[[1, 1, 0, 0, 0, 0]]
    report = Collapse.of(found, (1, 1, 0, 0, 0, 0), [Mixture(operations)])
    assert report == Collapse({"cell": 2}, {"cell": 4}, disconnected=True)
    assert not Collapse.of(found, (1, 1, 0, 3, 0, 0), [Mixture(operations)]).disconnected


def test_collapse_of_darts_counts_edges_on_which_none_leads() -> None:
    found = DARTS()
    normal, reduction = darts_mixture({(0, 0): 0.5, (7, 0): 0.4}), darts_mixture({(e, 3): 0.5 for e in range(14)})
    genes = TopTwo().select(found, [normal, reduction])
    report = Collapse.of(found, genes, [normal, reduction])
    # Where all weights are equal none comes first.
    assert report == Collapse({"normal": 0, "reduction": 8}, {"normal": 14, "reduction": 0}, disconnected=False)


@pytest.mark.parametrize(
    ("mixtures", "message"),
    [
        ([], "one mixture for each of the 1 cell types"),
        ([Mixture(torch.ones(5, 5))], "must have 6 edges"),
        ([Mixture(torch.ones(6, 5), torch.ones(5))], "must have 6 edges"),
        ([Mixture(torch.full((6, 5), float("nan")))], "must be finite"),
        ([Mixture(torch.ones(6, 5), torch.full((6,), float("inf")))], "must be finite"),
    ],
)
def test_mixtures_that_do_not_fit_are_refused(mixtures: list[Mixture], message: str) -> None:
    with pytest.raises(TrainingDiverged if "finite" in message else ValueError, match=message):
        ArgMax().select(NASBench201(), mixtures)

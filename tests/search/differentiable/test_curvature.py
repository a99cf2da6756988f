"""The dominant eigenvalue against formulas and full Hessians, by both ways of finding it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from genas.errors import TrainingDiverged
from genas.search.differentiable.curvature import dominant_eigenvalue, hessian
from genas.search.differentiable.gradients import FirstOrder


def symmetric(size: int, seed: int) -> Tensor:
    matrix = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (matrix + matrix.T) / 2


def quadratic(matrix: Tensor):
    """Half of a quadratic form of all operation weights."""

    def loss(operations: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
        flat = torch.cat([part.reshape(-1) for part in operations])
        return flat @ matrix @ flat / 2

    return loss


def alphas(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    draws = torch.Generator().manual_seed(3)
    return tuple(torch.randn(shape, dtype=torch.float64, generator=draws) for shape in shapes)


@pytest.mark.parametrize("exact_up_to", [64, 0])
def test_a_quadratic_loss_has_the_eigenvalue_of_its_matrix_plus_the_weight_decay(make_step, exact_up_to: int) -> None:
    matrix = symmetric(30, seed=0)
    step = make_step(quadratic(matrix))
    found = dominant_eigenvalue([step], alphas((6, 5)), FirstOrder(), weight_decay=1e-3, exact_up_to=exact_up_to)
    assert found == pytest.approx(
        float(torch.linalg.eigvalsh(matrix)[-1]) + 1e-3, rel=1e-4 if exact_up_to == 0 else 1e-12
    )


@pytest.mark.parametrize("exact_up_to", [64, 0])
def test_it_is_the_largest_not_the_one_of_the_largest_magnitude(make_step, exact_up_to: int) -> None:
    matrix = torch.diag(torch.linspace(-9, 1, 30, dtype=torch.float64))
    found = dominant_eigenvalue([make_step(quadratic(matrix))], alphas((6, 5)), FirstOrder(), exact_up_to=exact_up_to)
    assert found == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("exact_up_to", [64, 0])
def test_several_batches_are_averaged_before_the_eigenvalue(make_step, exact_up_to: int) -> None:
    first, second = symmetric(30, seed=1), symmetric(30, seed=2)
    steps = [make_step(quadratic(first)), make_step(quadratic(second))]
    found = dominant_eigenvalue(steps, alphas((6, 5)), FirstOrder(), exact_up_to=exact_up_to)
    assert found == pytest.approx(float(torch.linalg.eigvalsh((first + second) / 2)[-1]), rel=1e-4)


def test_the_hessian_of_a_softmax_is_that_of_all_parameters_together(smooth_step) -> None:
    """Both cell types of DARTS at once: blocks between them are not zero."""
    step = smooth_step("s3")
    points = alphas((14, 3), (14, 3))
    found = hessian([step], points, FirstOrder())

    def loss(flat: Tensor) -> Tensor:
        parts = tuple(part.view(14, 3) for part in torch.split(flat, 42))
        return step.objective.search_loss(step.cell_mixtures(parts))

    expected = torch.autograd.functional.hessian(loss, torch.cat([part.reshape(-1) for part in points]))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-12)
    assert np.abs(found[:42, 42:]).max() > 1e-3
    for exact_up_to in (84, 0):
        value = dominant_eigenvalue([step], points, FirstOrder(), exact_up_to=exact_up_to)
        assert value == pytest.approx(float(torch.linalg.eigvalsh(expected)[-1]), rel=1e-4)


def test_a_loss_without_curvature_has_eigenvalue_zero(make_step) -> None:
    for exact_up_to in (64, 0):
        found = dominant_eigenvalue(
            [make_step()], alphas((6, 5)), FirstOrder(), weight_decay=0.5, exact_up_to=exact_up_to
        )
        assert found == 0.5


@pytest.mark.parametrize("exact_up_to", [64, 0])
def test_a_hessian_that_is_not_finite_is_refused(make_step, exact_up_to: int) -> None:
    matrix = torch.eye(30, dtype=torch.float64)
    matrix[-1, -1] = torch.nan
    with pytest.raises(TrainingDiverged, match="The Hessian of the search loss must be finite, but is not"):
        dominant_eigenvalue([make_step(quadratic(matrix))], alphas((6, 5)), FirstOrder(), exact_up_to=exact_up_to)


def test_there_must_be_a_step(make_step) -> None:
    with pytest.raises(ValueError, match="at least one step"):
        dominant_eigenvalue([], alphas((6, 5)), FirstOrder())

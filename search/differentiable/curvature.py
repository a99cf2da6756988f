"""The dominant eigenvalue of the search loss in architecture space: the sharpness that DARTS-ES monitors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from genas.errors import TrainingDiverged
from genas.search.differentiable.parts import Alphas, ArchitectureGradient, CurvatureProduct, SearchStep
from genas.seeding import generator

EXACT_UP_TO = 32
"""Number of architecture parameters up to which the whole Hessian is built."""

_TOLERANCE = 1e-4
"""Relative accuracy of the Lanczos iteration; the eigenvalue itself varies far more from one batch to the next."""


def dominant_eigenvalue(
    steps: Sequence[SearchStep],
    alphas: Alphas,
    gradient: ArchitectureGradient,
    *,
    weight_decay: float = 0.0,
    exact_up_to: int = EXACT_UP_TO,
) -> float:
    """The largest eigenvalue of the Hessian with respect to all architecture parameters together.

    Up to ``exact_up_to`` parameters the whole Hessian is built, one product per parameter, and symmetrised; for more,
    the Lanczos iteration (ARPACK) finds the eigenvalue from a few dozen products.

    Args:
        steps: At least one; the Hessian is averaged over their search batches.
        alphas: The point of evaluation.
        gradient: Gradient of the function; DARTS-ES takes the search loss itself (:class:`FirstOrder`).
        weight_decay: Weight decay of the architecture's optimiser; added to the diagonal as in the authors' code.
        exact_up_to: Largest number of parameters for which the whole Hessian is built.

    Returns:
        The eigenvalue: the largest, not the one of the largest magnitude.

    Raises:
        ValueError: If there is no step.
        TrainingDiverged: If the Hessian is not finite.

    Reference:
        Zela et al., Understanding and Robustifying Differentiable Architecture Search, ICLR 2020, Section 4.
    """
    if not steps:
        raise ValueError("The Hessian needs at least one step, but got none.")
    size = sum(alpha.numel() for alpha in alphas)
    if size > exact_up_to:
        found = _by_lanczos(steps, alphas, gradient, size)
        if found is not None:
            return found + weight_decay
    whole = hessian(steps, alphas, gradient)
    if not np.isfinite(whole).all():
        raise TrainingDiverged(
            "The Hessian of the search loss must be finite, but is not; lower the learning rate, in a new run."
        )
    return float(np.linalg.eigvalsh(whole)[-1]) + weight_decay


def hessian(steps: Sequence[SearchStep], alphas: Alphas, gradient: ArchitectureGradient) -> np.ndarray:
    """The whole Hessian, symmetrised and averaged over the search batches.

    Args:
        steps: At least one.
        alphas: The point of evaluation.
        gradient: Gradient of the function.

    Returns:
        Float64 array, shape ``(n, n)``, ``n`` being the number of architecture parameters.
    """
    size = sum(alpha.numel() for alpha in alphas)
    total = np.zeros((size, size))
    for step in steps:  # one graph in memory at a time
        product = _flat_product(gradient.linearize(step, alphas)[1], alphas)
        total += np.stack([product(row) for row in np.eye(size)])
    return (total + total.T) / (2 * len(steps))


def _by_lanczos(steps: Sequence[SearchStep], alphas: Alphas, gradient: ArchitectureGradient, size: int) -> float | None:
    """The eigenvalue, or ``None`` if the iteration does not converge, as for a Hessian of zeros or of NaN."""
    kept = _flat_product(gradient.linearize(steps[0], alphas)[1], alphas) if len(steps) == 1 else None

    def multiply(vector: np.ndarray) -> np.ndarray:
        if kept is not None:
            return kept(vector)
        # Several graphs do not fit in memory: each is rebuilt for every product.
        products = (_flat_product(gradient.linearize(step, alphas)[1], alphas)(vector) for step in steps)
        mean: np.ndarray = np.mean(list(products), axis=0)
        return mean

    start = generator(steps[-1].seed, "eigenvalue", steps[-1].number).standard_normal(size)
    try:
        operator = LinearOperator((size, size), matvec=multiply, dtype=np.float64)
        values = eigsh(operator, k=1, which="LA", v0=start, tol=_TOLERANCE, return_eigenvectors=False)
    except ArpackError:
        return None
    return None if np.isnan(values[0]) else float(values[0])


def _flat_product(product: CurvatureProduct, alphas: Alphas) -> Callable[[np.ndarray], np.ndarray]:
    """The product as a map between flat vectors of all parameters."""
    sizes = [alpha.numel() for alpha in alphas]

    def multiply(vector: np.ndarray) -> np.ndarray:
        parts = torch.split(torch.from_numpy(np.ascontiguousarray(vector).reshape(-1)), sizes)
        direction = tuple(
            part.view_as(alpha).to(alpha.device, alpha.dtype) for part, alpha in zip(parts, alphas, strict=True)
        )
        return _flat(product(direction))

    return multiply


def _flat(tensors: Sequence[Tensor]) -> np.ndarray:
    flat: np.ndarray = torch.cat([tensor.detach().reshape(-1).cpu().double() for tensor in tensors]).numpy()
    return flat

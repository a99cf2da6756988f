"""Jacobian covariance: similarity of an untrained network's responses to small changes of different images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch

from genas.metrics.context import Context
from genas.metrics.initialisation import BatchMeasurement, OnBatch
from genas.spaces import Architecture

_K = 1e-5


def correlation_score(jacobian: np.ndarray) -> float:
    r"""Score of how close the correlations between the rows of a matrix are to those of independent rows.

    .. math:: -\sum_i \Bigl( \log(\lambda_i + k) + \frac{1}{\lambda_i + k} \Bigr), \qquad k = 10^{-5}

    with the eigenvalues :math:`\lambda_i` of the correlation matrix. Constant rows, which have no correlation, count as
    equal to each other and as uncorrelated with others; so a matrix of zeros has the lowest possible score, that of
    equal rows.

    Args:
        jacobian: Shape ``(rows, columns)``.

    Returns:
        At most ``-rows``; NaN if the matrix holds one.

    Example:
        >>> rows = np.array([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
        >>> round(correlation_score(rows), 4), round(correlation_score(rows[[0, 0]]) / 1e5, 3)
        (-2.0, -1.0)
    """
    centred = jacobian - jacobian.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    constant = lengths == 0
    units = np.column_stack([centred / np.where(constant, 1.0, lengths)[:, None], constant])
    correlations = units @ units.T
    if not np.all(np.isfinite(correlations)):
        return float("nan")
    eigenvalues = np.linalg.eigvalsh(correlations).clip(min=0)  # rounding makes zeros negative
    return float(-np.sum(np.log(eigenvalues + _K) + 1 / (eigenvalues + _K)))


@final
@dataclass(frozen=True)
class InputJacobians(BatchMeasurement):
    """The score of the correlations of the input Jacobians."""

    @property
    def columns(self) -> tuple[str, ...]:
        """One number."""
        return ("score",)

    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        """One forward pass, and one backward pass to the images."""
        network, (batch, _) = self.network(context), self.batch(context)
        images = batch.detach().requires_grad_()
        total = self.output(context, network, images, architecture).sum()
        # A disconnected cell does not read the images: zeros.
        (gradient,) = torch.autograd.grad(total, [images], materialize_grads=True)
        return (correlation_score(gradient.flatten(1).cpu().double().numpy()),)


@final
@dataclass(frozen=True)
class JacobCov(OnBatch):
    r"""Score of the correlations between the input Jacobians of a batch; higher is better.

    The Jacobian of an image is the gradient of the sum of all logits of the batch with respect to its pixels; its score
    is :func:`correlation_score`. BN normalises by the batch. A disconnected cell has the lowest value, as all its
    Jacobians are zero.

    Args:
        batch_size: Largest number of images; 64 as in Abdelfattah et al.

    Reference:
        Mellor et al., Neural Architecture Search without Training, first version (arXiv:2006.04647v1); Abdelfattah et
        al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021, where it is ``jacob_cov``.
    """

    name: ClassVar[str] = "jacob_cov"

    def measurement(self, repeat: int) -> InputJacobians:
        """The measurement of one initialisation."""
        return InputJacobians(self.channels, self.cells, repeat, self.batch_size)

"""NASWOT: diversity of the activation patterns of an untrained network's ReLUs over different images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from genas.metrics.context import Context
from genas.metrics.initialisation import BatchMeasurement, OnBatch
from genas.spaces import Architecture


@final
class ActivationKernel(TorchFunctionMode):
    r"""A mode that, while active, sums :math:`N_A - d_H(c_i, c_j)` over all ReLUs that run.

    :math:`c_i` is the binary code of image *i*, 1 where the rectified value is positive, :math:`d_H` the Hamming
    distance and :math:`N_A` the number of rectified values.

    It intercepts the function, not modules: cells rectify a node once for all its readers by ``functional.relu``, often
    in place, so that no module's output is the rectified tensor, and a tensor inspected later may have been changed.

    Args:
        images: Number of images in the batch.
    """

    def __init__(self, images: int) -> None:
        super().__init__()
        self.kernel = np.zeros((images, images))

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function, and record the output of a ReLU."""
        result = function(*args, **(kwargs or {}))
        if function is functional.relu:
            self._add(result)
        return result

    def _add(self, rectified: Tensor) -> None:
        # In channels-last memory this is a view, and the order of a code's bits does not matter.
        codes = torch.sign(rectified).permute(0, 2, 3, 1).flatten(1)
        # Bits set for both images; exact in float32 below 2**24 bits.
        both = (codes @ codes.T).cpu().double().numpy()
        own = np.diag(both)
        self.kernel += codes.shape[1] - (own[:, None] + own[None, :] - 2 * both)


def log_determinant(kernel: np.ndarray) -> float:
    """Logarithm of the determinant of a positive semi-definite matrix of integers; 0 where it is singular.

    Such a determinant is a whole number: 0, or at least 1. So no regular kernel has a logarithm below 0, and using 0
    for a singular one (instead of minus infinity) keeps the order and keeps means and weighted sums finite.

    Args:
        kernel: Shape ``(n, n)``.

    Returns:
        At least 0; NaN if the matrix holds one.

    Example:
        >>> round(log_determinant(np.array([[3.0, 1.0], [1.0, 3.0]])), 6)
        2.079442
        >>> log_determinant(np.full((2, 2), 3.0))
        0.0
    """
    if np.isnan(kernel).any():
        return float("nan")
    eigenvalues = np.linalg.eigvalsh(kernel)
    rounding = len(kernel) * np.finfo(np.float64).eps * eigenvalues[-1]
    return max(float(np.log(eigenvalues).sum()), 0.0) if eigenvalues[0] > rounding else 0.0


@final
@dataclass(frozen=True)
class ActivationCodes(BatchMeasurement):
    """The log-determinant of the kernel of activation codes."""

    @property
    def columns(self) -> tuple[str, ...]:
        """One number."""
        return ("log_determinant",)

    @torch.no_grad()
    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        """One forward pass."""
        network, (images, _) = self.network(context), self.batch(context)
        with ActivationKernel(len(images)) as activations:
            self.output(context, network, images, architecture)
        return (log_determinant(activations.kernel),)


@final
@dataclass(frozen=True)
class Naswot(OnBatch):
    r"""Log-determinant of the kernel of activation codes, :math:`\log |K_H|`; higher is better.

    .. math:: (K_H)_{ij} = N_A - d_H(c_i, c_j)

    with the binary codes :math:`c_i` of the images of a batch: which of the :math:`N_A` rectified values of the whole
    network are positive. BN normalises by the batch. A network whose kernel is singular, a disconnected cell above all,
    has the lowest value, 0, see :func:`log_determinant`.

    The published code counts a ReLU shared by several operations of a node once for each of them, and also those of
    dead edges; here every rectified node that is used counts once.

    Args:
        batch_size: Largest number of images; the paper's 128.

    Reference:
        Mellor et al., Neural Architecture Search without Training, ICML 2021.
    """

    name: ClassVar[str] = "naswot"

    batch_size: int = 128

    def measurement(self, repeat: int) -> ActivationCodes:
        """The measurement of one initialisation."""
        return ActivationCodes(self.channels, self.cells, repeat, self.batch_size)

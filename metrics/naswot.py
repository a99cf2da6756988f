"""NASWOT: diversity of the activation patterns of an untrained network's ReLUs over different images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from genas.choices import check_choices
from genas.metrics.context import Context
from genas.metrics.initialisation import BatchMeasurement, OnBatch
from genas.spaces import NONE, Architecture, SearchSpace
from genas.supernet import CellNetwork
from genas.supernet.cells import Cell


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
        self._is_paused = False

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function, and record the output of a ReLU."""
        result = function(*args, **(kwargs or {}))
        if function is functional.relu and not self._is_paused:
            self.add(result)
        return result

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the ReLUs that run within the ``with`` block."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def add(self, rectified: Tensor) -> None:
        """Add the codes of an output of a ReLU, shape ``(images, channels, H, W)``."""
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
        At least 0.

    Example:
        >>> round(log_determinant(np.array([[3.0, 1.0], [1.0, 3.0]])), 6)
        2.079442
        >>> log_determinant(np.full((2, 2), 3.0))
        0.0
    """
    eigenvalues = np.linalg.eigvalsh(kernel)
    rounding = len(kernel) * np.finfo(np.float64).eps * eigenvalues[-1]
    return max(float(np.log(eigenvalues).sum()), 0.0) if eigenvalues[0] > rounding else 0.0


@dataclass(frozen=True)
class ActivationCodes(BatchMeasurement):
    """The log-determinant of the kernel of activation codes."""

    @property
    def columns(self) -> tuple[str, ...]:
        """One number."""
        return ("log_determinant",)

    @final
    @torch.no_grad()
    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        """One forward pass."""
        network, (images, _) = self.network(context), self.batch(context)
        with ActivationKernel(len(images)) as activations, self.counted(network, activations):
            logits = self.output(context, network, images, architecture)
        # The sign of NaN is 0 for torch: such activations would look like zeros.
        return (log_determinant(activations.kernel) if bool(logits.isfinite().all()) else np.nan,)

    def counted(
        self,
        network: CellNetwork,  # noqa: ARG002
        activations: ActivationKernel,  # noqa: ARG002
    ) -> contextlib.AbstractContextManager[object]:
        """What else is to be counted while the network runs: nothing."""
        return contextlib.nullcontext()


@final
@dataclass(frozen=True)
class PublishedActivationCodes(ActivationCodes):
    """The log-determinant with every ReLU module of the published network counted, those of dead edges too."""

    def representative(self, space: SearchSpace, architecture: Architecture) -> Architecture:  # noqa: ARG002
        """The architecture itself: one that differs in a dead edge has other numbers."""
        return architecture

    @contextlib.contextmanager
    def counted(self, network: CellNetwork, activations: ActivationKernel) -> Iterator[None]:
        """Add the modules of each cell beyond the rectified nodes that the cell counts by running."""

        def count(cell: Cell, arguments: tuple[Sequence[Tensor], Sequence[int]]) -> None:
            with activations.paused():
                for rectified in _uncounted(cell, *arguments):
                    activations.add(rectified)

        hooks = [cell.register_forward_pre_hook(count) for cell in network.cells]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _uncounted(cell: Cell, states: Sequence[Tensor], genes: Sequence[int]) -> Iterator[Tensor]:
    """The outputs of a cell's ReLU modules, one for each convolution, without the first of each node on a live edge."""
    inputs = cell.first_nodes(states)
    missing = cell.cell_type.num_nodes - len(inputs)
    nodes = [*inputs, *[cell.zeros(inputs[-1], inputs[-1].shape[1]) for _ in range(missing)]]
    live, counted = set(cell.cell_type.live_edges(genes)), set()
    for edge, (source, target) in enumerate(cell.cell_type.edges):
        if genes[edge] == NONE:
            continue
        operation, value = cell.operation(edge, genes[edge]), nodes[source]
        if operation.rectified:
            value = functional.relu(value)
            if edge in live and source not in counted:
                counted.add(source)
            else:
                yield value
        nodes[target] = nodes[target] + operation(value)


@final
@dataclass(frozen=True)
class Naswot(OnBatch):
    r"""Log-determinant of the kernel of activation codes, :math:`\log |K_H|`; higher is better.

    .. math:: (K_H)_{ij} = N_A - d_H(c_i, c_j)

    with the binary codes :math:`c_i` of the images of a batch: which of the :math:`N_A` rectified values of the whole
    network are positive. BN normalises by the batch. A network whose kernel is singular, a disconnected cell above all,
    has the lowest value, 0, see :func:`log_determinant`.

    Args:
        batch_size: Largest number of images; the paper's 128.
        counting: ``nodes``: every rectified node that is used counts once. ``published``: as in the paper's code, every
            ReLU module counts: one for each convolution that reads a node, on dead edges, too, so that disconnected
            cells are not the lowest.

    Reference:
        Mellor et al., Neural Architecture Search without Training, ICML 2021.
    """

    name: ClassVar[str] = "naswot"

    batch_size: int = 128
    counting: Literal["nodes", "published"] = "nodes"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self)

    def measurement(self, repeat: int) -> ActivationCodes:
        """The measurement of one initialisation."""
        kind = ActivationCodes if self.counting == "nodes" else PublishedActivationCodes
        return kind(self.channels, self.cells, repeat, self.batch_size)

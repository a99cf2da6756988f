"""Running a cell as a weighted mixture, with computations shared among its edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.supernet.batch_norm import Normalized, records, uses_batch_statistics, weighted_norm
from genas.supernet.mixtures import Mixture
from genas.supernet.operations import Operation, Pool, Skip
from genas.supernet.rectification import relu_keeping_input
from genas.supernet.weighting import concatenate, weighted_sum


def shuffle_channels(values: Tensor, groups: int) -> Tensor:
    """ShuffleNet's channel shuffle: channel ``g * (C / groups) + k`` becomes channel ``k * groups + g``.

    Args:
        values: Shape ``(n, C, H, W)``.
        groups: A divisor of ``C``; a shuffle with ``C / groups`` undoes it.

    Returns:
        A new tensor of the same shape.
    """
    count, channels, height, width = values.shape
    split = values.view(count, groups, channels // groups, height, width).transpose(1, 2)
    shuffled = split.reshape(count, channels, height, width)
    return shuffled.contiguous(memory_format=torch.channels_last)


@final
class Terms:
    """The sum of the terms of one node.

    Terms that are shared with others are kept until the end and weighted in one function, so that none is copied.
    """

    def __init__(self) -> None:
        self._owned: Tensor | None = None
        self._shared: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, term: Tensor) -> None:
        """Add a tensor that nothing else refers to."""
        self._owned = term if self._owned is None else self._owned.add_(term)

    def add_weighted(self, weight: Tensor, value: Tensor) -> None:
        """Add a shared tensor times a scalar."""
        before, _ = self._shared.get(id(value), (None, None))
        self._shared[id(value)] = (weight if before is None else before + weight, value)

    def total(self) -> Tensor | None:
        """The sum, ``None`` without terms."""
        if self._shared:
            weights, values = zip(*self._shared.values(), strict=True)
            self.add(weighted_sum(weights, values))
        return self._owned


@final
class ChannelSplit:
    """PC-DARTS' nodes: the first channels go through the candidates, the others around them.

    Args:
        groups: PC-DARTS' K; 1: all channels go through the candidates.
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def active(self, node: Tensor) -> Tensor:
        """The channels that go through the candidates."""
        if self.groups == 1:
            return node
        chosen = node[:, : node.shape[1] // self.groups]
        return chosen.contiguous(memory_format=torch.channels_last)

    def bypass(self, node: Tensor, stride: int) -> Tensor:
        """The other channels, in the output size of the edge."""
        others = node[:, node.shape[1] // self.groups :].contiguous(memory_format=torch.channels_last)
        return others if stride == 1 else functional.max_pool2d(others, 2, 2, ceil_mode=True)

    def join(self, mixed: Tensor, around: Tensor) -> Tensor:
        """The node: both parts, shuffled. Edges are summed before, which is the same as shuffling each of them."""
        return shuffle_channels(concatenate([mixed, around]), self.groups)


@final
class Source:
    """A node as input of its edges: each form of it is computed once, for the first reader.

    Args:
        node: The node.
        partial: The choice of channels that go through the candidates.
        stride: Stride of the edges that start here.
        is_kept: Whether the sums keep the node anyway, for the gradients of its weights.
    """

    def __init__(self, node: Tensor, partial: ChannelSplit, stride: int, *, is_kept: bool) -> None:
        self.node, self.partial, self.stride, self.is_kept = node, partial, stride, is_kept
        self.value = partial.active(node)
        """The channels that go through the candidates."""
        self._forms: dict[str, Tensor] = {}
        self._normalized: dict[str, Normalized] = {}

    @property
    def bypass(self) -> Tensor:
        """The other channels, as the edges pass them on."""
        return self._once("bypass", lambda: self.partial.bypass(self.node, self.stride))

    def _once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._forms:
            self._forms[name] = make()
        return self._forms[name]

    def read(self, operation: Operation) -> Tensor:
        """The node in the form that an operation reads."""
        if not operation.rectified:
            return self.value
        relu = relu_keeping_input if self.is_kept else functional.relu
        return self._once("rectified", lambda: relu(self.value))

    def add(self, name: str, operation: Operation, weight: Tensor, terms: Terms) -> None:
        """Add an operation of this node to a sum.

        Args:
            name: The operation's name.
            operation: The operation.
            weight: Its weight, a scalar.
            terms: The sum.
        """
        if isinstance(operation, Skip):
            terms.add_weighted(weight, self.value)
        elif isinstance(operation, Pool):
            self._add_pool(name, operation, weight, terms)
        else:
            terms.add(operation.weighted(self.read(operation), weight))

    def _add_pool(self, name: str, operation: Pool, weight: Tensor, terms: Terms) -> None:
        pooled = self._once(name, lambda: operation.pool(self.value))
        bn = operation.bn
        if bn is None:
            terms.add_weighted(weight, pooled)
        elif isinstance(bn, nn.BatchNorm2d) and not bn.affine and uses_batch_statistics(bn):
            if name not in self._normalized:
                self._normalized[name] = Normalized.of(pooled, bn.eps)
            if records(bn):
                self._normalized[name].record(bn)
            terms.add_weighted(weight, self._normalized[name].values)
        else:
            terms.add(weighted_norm(bn, pooled, weight))


@final
class EdgeWeights:
    """The weights of a mixture, as applied by the edges of a cell.

    Args:
        mixture: The mixture.
        node: A node of the cell, which determines device and type of the weights; the type is at least float32.
    """

    def __init__(self, mixture: Mixture, node: Tensor) -> None:
        dtype = torch.promote_types(node.dtype, torch.float32)
        operations = mixture.operations.to(node.device, dtype)
        self._one = torch.ones((), device=node.device, dtype=dtype)
        self._edges: Sequence[Tensor] | None = None
        if mixture.edges is not None:
            edges = mixture.edges.to(node.device, dtype)
            operations = operations * edges[:, None]
            self._edges = edges.unbind()
        self._skip = mixture.skip
        self._runs = mixture.runs
        self._operations = [row.unbind() for row in operations.unbind()]

    @property
    def are_learnt(self) -> bool:
        """Whether their gradients are needed."""
        return torch.is_grad_enabled() and self._operations[0][0].requires_grad

    @property
    def has_skip(self) -> bool:
        """Whether there is an auxiliary skip connection."""
        return self._skip != 0

    def is_live(self, edge: int) -> bool:
        """Whether the edge passes anything on."""
        return self._runs is None or any(self._runs[edge])

    def runs(self, edge: int, column: int) -> bool:
        """Whether a candidate runs."""
        return self._runs is None or self._runs[edge][column]

    def operation(self, edge: int, column: int) -> Tensor:
        """Weight of a candidate."""
        return self._operations[edge][column]

    def edge(self, edge: int) -> Tensor:
        """Weight of the channels that bypass the candidates."""
        return self._one if self._edges is None else self._edges[edge]

    def skip(self, edge: int) -> Tensor:
        """Weight of the auxiliary skip connection."""
        return self._skip * self.edge(edge)

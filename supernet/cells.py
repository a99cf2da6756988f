"""A cell with its candidate operations: run along one discrete path, or as a weighted mixture."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.spaces.base import NONE, CellType
from genas.spaces.skeleton import Block, Skeleton
from genas.supernet.operations import ConvBN, FactorizedReduce, Operation, build_operation

Genes = Sequence[int]


class Nodes:
    """The values of a cell's nodes while it runs: sums that grow edge by edge, each rectified at most once.

    Args:
        inputs: Values of the first nodes.
        num_nodes: Number of nodes.
        inputs_owned: Whether no one else holds the inputs, so that they may be changed in place.
        read_plain: Nodes that someone reads without a ReLU; the others are rectified in place.
    """

    def __init__(
        self, inputs: Sequence[Tensor], num_nodes: int, *, inputs_owned: bool, read_plain: AbstractSet[int]
    ) -> None:
        missing = num_nodes - len(inputs)
        self._values: list[Tensor | None] = [*inputs, *[None] * missing]
        self._owned = [inputs_owned] * len(inputs) + [False] * missing
        self._read_plain = read_plain
        self._rectified: dict[int, Tensor] = {}

    def read(self, node: int, *, rectified: bool) -> Tensor | None:
        """The value of a node, or ``None`` where nothing arrived (zero)."""
        value = self._values[node]
        if not rectified or value is None:
            return value
        if node not in self._rectified:
            in_place = self._owned[node] and node not in self._read_plain
            self._rectified[node] = functional.relu(value, inplace=in_place)
        return self._rectified[node]

    def add(self, node: int, term: Tensor, *, owned: bool) -> None:
        """Add a term to a node; ``owned`` says that no one else holds the tensor."""
        value = self._values[node]
        if value is None:
            self._values[node], self._owned[node] = term, owned
        elif self._owned[node]:
            value.add_(term)
        elif owned:
            self._values[node], self._owned[node] = term.add_(value), True
        else:
            self._values[node], self._owned[node] = value + term, True


@final
class Cell(nn.Module):
    """One cell of a network.

    Args:
        cell_type: The graph.
        block: Channels, sizes and stride.
        skeleton: Options of the operations.
        operations: The space's vocabulary.
        candidates: For every edge, the operation indices it holds.
    """

    def __init__(
        self,
        cell_type: CellType,
        block: Block,
        skeleton: Skeleton,
        operations: tuple[str, ...],
        candidates: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        self.cell_type, self.block, self.operations = cell_type, block, operations
        self.candidates = tuple(tuple(edge) for edge in candidates)
        if cell_type.num_inputs > 1:  # NAS-Bench-201's cells read their input as it is
            self.preprocess = nn.ModuleList(self._preprocessing(block, skeleton))
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {
                    operations[index]: build_operation(
                        operations[index],
                        block.channels,
                        block.stride if source < cell_type.num_inputs else 1,
                        skeleton,
                    )
                    for index in edge
                    if index != NONE
                }
            )
            for (source, _), edge in zip(cell_type.edges, self.candidates, strict=True)
        )

    @staticmethod
    def _preprocessing(block: Block, skeleton: Skeleton) -> list[Operation]:
        layers: list[Operation] = []
        for channels, size in zip(block.in_channels, block.in_sizes, strict=True):
            if size == block.in_sizes[-1]:
                layers.append(ConvBN(channels, block.channels, 1, affine=skeleton.affine))
            else:
                layers.append(FactorizedReduce(channels, block.channels, affine=skeleton.affine))
        return layers

    def operation(self, edge: int, index: int) -> Operation:
        """The module of operation ``index`` on an edge."""
        return cast(Operation, cast(nn.ModuleDict, self.edges[edge])[self.operations[index]])

    def forward(self, states: Sequence[Tensor], choice: Genes | Tensor, *, inputs_owned: bool = False) -> Tensor:
        """Run the cell.

        Args:
            states: The inputs, oldest first, shape ``(n, channels, H, W)`` each.
            choice: Operation index per edge (only live edges are run), or the weights of a mixture, shape ``(edges,
                candidates)``, column ``k`` of a row belonging to the ``k``-th candidate of that edge.
            inputs_owned: Whether the cell is the only reader of its inputs and may change them in place.

        Returns:
            The output, shape ``(n, out_channels, H', W')``.
        """
        inputs = list(states)
        if self.cell_type.num_inputs > 1:
            inputs = [layer(functional.relu(state)) for layer, state in zip(self.preprocess, states, strict=True)]
            inputs_owned = True
        if isinstance(choice, Tensor):
            nodes = Nodes(
                inputs,
                self.cell_type.num_nodes,
                inputs_owned=inputs_owned,
                read_plain=set(range(self.cell_type.num_nodes)),
            )
            self._run_mixture(nodes, choice)
        else:
            plan = self._plan(choice)
            plain = {self.cell_type.edges[edge][0] for edge in plan if not self.operation(edge, choice[edge]).rectified}
            plain.update(self.cell_type.output_nodes)
            nodes = Nodes(inputs, self.cell_type.num_nodes, inputs_owned=inputs_owned, read_plain=plain)
            self._run_path(nodes, plan, choice)
        return self._output(nodes, inputs[-1])

    def _run_path(self, nodes: Nodes, plan: Sequence[int], genes: Genes) -> None:
        for edge in plan:
            source, target = self.cell_type.edges[edge]
            operation = self.operation(edge, genes[edge])
            value = nodes.read(source, rectified=operation.rectified)
            assert value is not None  # live edges start at nodes that something reached
            nodes.add(target, operation(value), owned=not operation.passes_through)

    def _run_mixture(self, nodes: Nodes, weights: Tensor) -> None:
        for edge, (source, target) in enumerate(self.cell_type.edges):
            for column, index in enumerate(self.candidates[edge]):
                if index == NONE:
                    continue
                operation = self.operation(edge, index)
                value = nodes.read(source, rectified=operation.rectified)
                if value is not None:
                    nodes.add(target, weights[edge, column] * operation(value), owned=True)

    def _plan(self, genes: Genes) -> tuple[int, ...]:
        self.check(genes)
        return self.cell_type.live_edges(genes)

    def check(self, genes: Genes) -> None:
        """Look whether the cell holds the operations of a path, those of dead edges too.

        Args:
            genes: Operation index per edge.

        Raises:
            ValueError: If there is not one gene per edge, or an edge does not hold its operation.
        """
        if len(genes) != len(self.candidates):
            raise ValueError(
                f"The path of a cell must have {len(self.candidates)} genes, one per edge, but got {len(genes)}."
            )
        for edge, (gene, candidates) in enumerate(zip(genes, self.candidates, strict=True)):
            if gene != NONE and gene not in candidates:
                raise ValueError(
                    f"Edge {edge} of this cell holds the operations {[self.operations[k] for k in candidates]}, "
                    f"but the path asks for index {gene}; choose one of {list(candidates)}."
                )

    def _output(self, nodes: Nodes, like: Tensor) -> Tensor:
        size, channels = self.block.node_size, self.block.channels

        def value(node: int) -> Tensor:
            found = nodes.read(node, rectified=False)
            if found is not None:
                return found
            zeros = like.new_zeros(len(like), channels, size, size)
            return zeros.to(memory_format=torch.channels_last)

        values = [value(node) for node in self.cell_type.output_nodes]
        return values[0] if len(values) == 1 else torch.cat(values, dim=1)

"""A cell with its candidate operations: run along one discrete path, or as a weighted mixture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.spaces.base import NONE, CellType
from genas.spaces.skeleton import Block, Skeleton
from genas.supernet.mixing import ChannelSplit, EdgeWeights, Source, Terms
from genas.supernet.mixtures import PLAIN, Mixture, MixtureOptions
from genas.supernet.operations import ConvBN, FactorizedReduce, Operation, build_operation
from genas.supernet.weighting import concatenate

Genes = Sequence[int]


class Nodes:
    """The values of a cell's nodes while it runs: sums accumulated edge by edge, each rectified at most once.

    Args:
        inputs: Values of the first nodes.
        num_nodes: Number of nodes.
        inputs_owned: Whether nothing else refers to the inputs, so that they may be changed in place.
        read_plain: Nodes with a reader that applies no ReLU; the others are rectified in place.
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
        """The value of a node, or ``None`` where nothing was added (zero)."""
        value = self._values[node]
        if not rectified or value is None:
            return value
        if node not in self._rectified:
            in_place = self._owned[node] and node not in self._read_plain
            self._rectified[node] = functional.relu(value, inplace=in_place)
        return self._rectified[node]

    def add(self, node: int, term: Tensor, *, owned: bool) -> None:
        """Add a term to a node; ``owned`` means that nothing else needs it, nor its backward pass."""
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
        options: Options of mixtures.

    Raises:
        ValueError: If the options do not suit the cell.
    """

    def __init__(
        self,
        cell_type: CellType,
        block: Block,
        skeleton: Skeleton,
        operations: tuple[str, ...],
        candidates: Sequence[Sequence[int]],
        options: MixtureOptions = PLAIN,
    ) -> None:
        super().__init__()
        self.cell_type, self.block, self.operations, self.options = (cell_type, block, operations, options)
        self.candidates = tuple(tuple(edge) for edge in candidates)
        self.active_channels = self._active_channels()
        if cell_type.num_inputs > 1:  # NAS-Bench-201's cells read their input unchanged
            self.preprocess = nn.ModuleList(self._preprocessing(block, skeleton))
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {
                    operations[index]: build_operation(
                        operations[index], self.active_channels, self.stride(source), skeleton
                    )
                    for index in edge
                    if index != NONE
                }
            )
            for (source, _), edge in zip(cell_type.edges, self.candidates, strict=True)
        )
        self.auxiliary_skips = nn.ModuleDict()

    def _active_channels(self) -> int:
        groups, channels = self.options.partial_channels, self.block.channels
        if channels % groups:
            raise ValueError(
                f"partial_channels must divide the {channels} channels of every cell, but is {groups}; "
                "choose another number of channels."
            )
        if self.options.partial_scope == "cell" and self.cell_type.num_inputs > 1:
            raise ValueError(
                f"partial_scope 'cell' needs cells with one input, but {self.cell_type.name} cells have "
                f"{self.cell_type.num_inputs}; choose 'edges'."
            )
        return channels // groups

    def stride(self, source: int) -> int:
        """Stride of the edges that start at a node."""
        return self.block.stride if source < self.cell_type.num_inputs else 1

    def add_auxiliary_skips(self) -> None:
        """Give edges of stride 2 their auxiliary skip connection; called last, to keep other initial weights."""
        for edge, (source, _) in enumerate(self.cell_type.edges):
            if self.stride(source) > 1:
                self.auxiliary_skips[str(edge)] = FactorizedReduce(
                    self.active_channels, self.active_channels, affine=False
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

    def forward(self, states: Sequence[Tensor], choice: Genes | Mixture, *, inputs_owned: bool = False) -> Tensor:
        """Run the cell.

        Args:
            states: The inputs, oldest first, shape ``(n, channels, H, W)`` each.
            choice: Operation index per edge (only live edges are run), or a mixture, whose column ``k`` belongs to the
                ``k``-th candidate of an edge.
            inputs_owned: Whether the cell is the only reader of its inputs and may change them in place.

        Returns:
            The output, shape ``(n, out_channels, H', W')``.
        """
        inputs = self.first_nodes(states)
        inputs_owned = inputs_owned or self.cell_type.num_inputs > 1
        if isinstance(choice, Mixture):
            return self._mix(inputs, choice)
        plan = self._plan(choice)
        plain = {self.cell_type.edges[edge][0] for edge in plan if not self.operation(edge, choice[edge]).rectified}
        plain.update(self.cell_type.output_nodes)
        nodes = Nodes(inputs, self.cell_type.num_nodes, inputs_owned=inputs_owned, read_plain=plain)
        self._run_path(nodes, plan, choice)
        values = [nodes.read(node, rectified=False) for node in self.cell_type.output_nodes]
        return self._output(values, inputs[-1])

    def first_nodes(self, states: Sequence[Tensor]) -> list[Tensor]:
        """The values of the input nodes: the inputs, preprocessed where the cell reads two."""
        if self.cell_type.num_inputs == 1:
            return list(states)
        return [layer(functional.relu(state)) for layer, state in zip(self.preprocess, states, strict=True)]

    def _run_path(self, nodes: Nodes, plan: Sequence[int], genes: Genes) -> None:
        for edge in plan:
            source, target = self.cell_type.edges[edge]
            operation = self.operation(edge, genes[edge])
            value = nodes.read(source, rectified=operation.rectified)
            assert value is not None  # live edges start at nodes that have a value
            nodes.add(target, operation(value), owned=operation.output_is_free)

    def _mix(self, inputs: list[Tensor], mixture: Mixture) -> Tensor:
        self._check_mixture(mixture)
        partial = ChannelSplit(self.options.partial_channels)
        if self.options.partial_scope == "cell":
            (node,) = inputs
            output = self._output(self._run_mixture([partial.active(node)], mixture, ChannelSplit(1)), node)
            return partial.join(output, partial.bypass(node, 1)) if partial.groups > 1 else output
        return self._output(self._run_mixture(inputs, mixture, partial), inputs[-1])

    def _run_mixture(self, inputs: list[Tensor], mixture: Mixture, partial: ChannelSplit) -> list[Tensor | None]:
        """The values of the output nodes."""
        weights = EdgeWeights(mixture, inputs[-1])
        values: list[Tensor | None] = [*inputs]
        is_kept = weights.are_learnt
        sources: list[Source | None] = [Source(value, partial, self.block.stride, is_kept=is_kept) for value in inputs]
        for _, edges in itertools.groupby(enumerate(self.cell_type.edges), key=lambda item: item[1][1]):
            terms, around = Terms(), Terms()
            for edge, (position, _) in edges:
                source = sources[position]
                if source is not None and weights.is_live(edge):
                    self._add_edge(edge, source, weights, terms)
                    if partial.groups > 1:
                        around.add_weighted(weights.edge(edge), source.bypass)
            value, bypass = terms.total(), around.total()
            if bypass is not None:
                value = partial.join(self.zeros(bypass, self.active_channels) if value is None else value, bypass)
            values.append(value)
            sources.append(None if value is None else Source(value, partial, 1, is_kept=is_kept))
        return [values[node] for node in self.cell_type.output_nodes]

    def _add_edge(self, edge: int, source: Source, weights: EdgeWeights, terms: Terms) -> None:
        for column, index in enumerate(self.candidates[edge]):
            if index != NONE and weights.runs(edge, column):
                weight = weights.operation(edge, column)
                source.add(self.operations[index], self.operation(edge, index), weight, terms)
        if weights.has_skip:
            if source.stride == 1:
                terms.add_weighted(weights.skip(edge), source.value)
            else:
                reduction = cast(FactorizedReduce, self.auxiliary_skips[str(edge)])
                terms.add(reduction.weighted(source.read(reduction), weights.skip(edge)))

    def _check_mixture(self, mixture: Mixture) -> None:
        edges, width = len(self.candidates), max(map(len, self.candidates))
        shape = tuple(mixture.operations.shape)
        if len(shape) != 2 or shape[0] != edges or shape[1] < width:
            raise ValueError(
                f"The mixture of a {self.cell_type.name} cell must have {edges} rows, one per edge, of {width} "
                f"candidates, but its operations have the shape {shape}."
            )
        if mixture.skip and not self.options.auxiliary_skip:
            raise ValueError(
                f"A mixture with an auxiliary skip of {mixture.skip} needs a network that has them: build it with "
                "MixtureOptions(auxiliary_skip=True)."
            )

    def _plan(self, genes: Genes) -> tuple[int, ...]:
        self.check(genes)
        return self.cell_type.live_edges(genes)

    def check(self, genes: Genes) -> None:
        """Check that the cell holds the operations of a path, including those of dead edges.

        Args:
            genes: Operation index per edge.

        Raises:
            ValueError: If there is not one gene per edge, an edge does not hold its operation, or the cell has partial
                channels.
        """
        if self.options.partial_channels > 1:
            raise ValueError(
                f"A network with partial_channels {self.options.partial_channels} runs mixtures only, no discrete "
                "paths; build one with partial_channels 1 for them."
            )
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

    def _output(self, values: Sequence[Tensor | None], like: Tensor) -> Tensor:
        found = [self.zeros(like, like.shape[1]) if value is None else value for value in values]
        return found[0] if len(found) == 1 else concatenate(found)

    def zeros(self, like: Tensor, channels: int) -> Tensor:
        """The value of a node that no live edge reaches."""
        zeros = like.new_zeros(len(like), channels, self.block.node_size, self.block.node_size)
        return zeros.to(memory_format=torch.channels_last)

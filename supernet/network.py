"""The one network class: supernet and stand-alone network, discrete paths and weighted mixtures."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

from genas.seeding import derived_seed
from genas.spaces.base import NONE, Architecture, SearchSpace
from genas.spaces.skeleton import Skeleton
from genas.supernet.cells import Cell, Genes
from genas.supernet.mixtures import PLAIN, Mixture, MixtureOptions
from genas.supernet.operations import Noise
from genas.supernet.stems_and_heads import AuxiliaryHead, ResidualReduction, build_head, build_stems

_GLOBAL_GENERATOR = threading.Lock()
"""Held while torch's global generator is seeded and drawn from."""

NetworkPath = tuple[tuple[int, ...], ...]
"""A discrete choice: the genes of every cell of a network, from the first to the last."""


Statistics = Literal["batch", "recorded", "running"]
"""The statistics by which BN normalises: those of the batch, or the running ones as in evaluation.

``recorded`` is ``batch`` that also updates the running statistics: for the one forward pass of a weight step.
"""


@final
class CellNetwork(nn.Module):
    """A network of cells.

    With all operations on every edge it is the supernet; with one per edge it is the stand-alone network of an
    architecture.

    Args:
        space: The search space: cell types and operations.
        skeleton: The macro-structure.
        candidates: For every gene, the operation indices that the network holds; all of the space's by default.
        options: Options of mixtures.

    Raises:
        ValueError: If the number of ``candidates`` is not the space's number of genes, or ``options`` do not suit the
            cells.

    Example:
        >>> from genas.spaces import NASBench201
        >>> space = NASBench201()
        >>> supernet = CellNetwork(space, space.supernet_skeleton(num_classes=10, image_size=8, channels=4, cells=1))
        >>> path = supernet.path(space.parse("3,3,3,3,3,3"))
        >>> supernet(torch.zeros(2, 3, 8, 8), path).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        space: SearchSpace,
        skeleton: Skeleton,
        candidates: Sequence[Sequence[int]] | None = None,
        options: MixtureOptions = PLAIN,
    ) -> None:
        super().__init__()
        self.space, self.skeleton, self.options = space, skeleton, options
        self.candidates = tuple(tuple(edge) for edge in (space.candidates if candidates is None else candidates))
        if len(self.candidates) != space.num_genes:
            raise ValueError(
                f"candidates must list the operations of all {space.num_genes} edges of {space.name}, "
                f"but got {len(self.candidates)}."
            )
        self.stems = build_stems(skeleton)
        self.blocks = nn.ModuleList()
        by_type = space.split(self.candidates)
        for block in skeleton.blocks:
            if block.kind == "residual":
                self.blocks.append(ResidualReduction(block.in_channels[0], block.channels))
            else:
                cell_type = space.cell_types[block.cell_type]
                held = by_type[block.cell_type]
                self.blocks.append(Cell(cell_type, block, skeleton, space.operations, held, options))
        self.head = build_head(skeleton)
        self.auxiliary = AuxiliaryHead(skeleton) if skeleton.auxiliary else None
        if options.auxiliary_skip:
            for cell in self.cells:
                cell.add_auxiliary_skips()
        self._noises = {name: module for name, module in self.named_modules() if isinstance(module, Noise)}
        self._norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        self.to(memory_format=torch.channels_last)

    @property
    def cells(self) -> list[Cell]:
        """The searched cells, from the first to the last."""
        return [block for block in self.blocks if isinstance(block, Cell)]

    @property
    def cell_types(self) -> tuple[int, ...]:
        """For each of ``cells``, the position of its type in ``space.cell_types``."""
        return tuple(block.cell_type for block in self.skeleton.blocks if block.kind == "cell")

    def path(self, architecture: Architecture) -> NetworkPath:
        """The discrete choice that gives every cell of a type the genes of the architecture."""
        by_type = self.space.split(architecture)
        return tuple(by_type[cell_type] for cell_type in self.cell_types)

    def forward(self, images: Tensor, choice: Sequence[Genes | Mixture] | None = None) -> Tensor:
        """Logits of a batch.

        Args:
            images: Normalised images, shape ``(n, image_channels, H, W)``.
            choice: For every cell the operation index of each edge (one-shot), or a mixture (differentiable). ``None``
                is for a stand-alone network: its only path.

        Returns:
            Logits, shape ``(n, num_classes)``.
        """
        logits, _ = self._run(images, choice, auxiliary=False)
        return logits

    def forward_with_auxiliary(
        self, images: Tensor, choice: Sequence[Genes | Mixture] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits of the head and of the auxiliary head, for training with an auxiliary loss.

        Args:
            images: As in :meth:`forward`.
            choice: As in :meth:`forward`.

        Returns:
            Two tensors of shape ``(n, num_classes)``.

        Raises:
            ValueError: If the skeleton has no auxiliary head.
        """
        logits, side = self._run(images, choice, auxiliary=True)
        if side is None:
            raise ValueError("The skeleton must have an auxiliary head: build it with auxiliary=True.")
        return logits, side

    def _run(
        self, images: Tensor, choice: Sequence[Genes | Mixture] | None, *, auxiliary: bool
    ) -> tuple[Tensor, Tensor | None]:
        per_cell = iter(self._only_path() if choice is None else self._checked(choice))
        states, side = self._stem_states(images), None
        for position, block in enumerate(self.blocks):
            if isinstance(block, Cell):
                # Where cells read one state only, a state is read by the next block alone.
                inputs = states[-block.cell_type.num_inputs :]
                output = block(inputs, next(per_cell), inputs_owned=len(inputs) == 1)
            else:
                output = block(states[-1])
            states = [states[-1], output]
            if auxiliary and self.auxiliary is not None and position == self.skeleton.auxiliary_position:
                side = self.auxiliary(output)
        return self.head(states[-1]), side

    def _stem_states(self, images: Tensor) -> list[Tensor]:
        """The two states available to the first block, oldest first."""
        first = self.stems[0](images)
        return [first, self.stems[1](first) if len(self.stems) > 1 else first]

    def _checked(self, choice: Sequence[Genes | Mixture]) -> Sequence[Genes | Mixture]:
        if len(choice) != len(self.cell_types):
            raise ValueError(
                f"choice must have one entry for each of the {len(self.cell_types)} cells, but has {len(choice)}; "
                "network.path(architecture) makes one."
            )
        return choice

    def _only_path(self) -> NetworkPath:
        if any(len(edge) > 1 for edge in self.candidates):
            raise ValueError("A network with several operations on an edge needs a choice: network.path(architecture).")
        return self.path(tuple(edge[0] if edge else NONE for edge in self.candidates))

    def subnet(self, architecture: Architecture) -> CellNetwork:
        """The stand-alone network of an architecture with a copy of this network's weights and BN statistics.

        Args:
            architecture: A valid architecture whose operations the network holds.

        Returns:
            A network with one operation per edge and without auxiliary skip connections, in the same mode (training or
            evaluation), that shares no memory with this one.

        Raises:
            ValueError: If the architecture is not valid, or the network lacks an operation or has partial channels.
        """
        genes = self.space.check(architecture)
        for cell, own in zip(self.cells, self.path(genes), strict=True):
            cell.check(own)
        with torch.device("meta"):  # initial weights would be discarded, and would advance torch's generator
            subnet = CellNetwork(self.space, self.skeleton, [(gene,) if gene != NONE else () for gene in genes])
        weights = self.state_dict()
        subnet.load_state_dict({name: weights[name].clone() for name in subnet.state_dict()}, assign=True)
        return subnet.train(self.training)

    @classmethod
    def initialised(
        cls, space: SearchSpace, skeleton: Skeleton, seed: int, options: MixtureOptions = PLAIN
    ) -> CellNetwork:
        """A network with all of the space's operations and torch's default initialisation, drawn from a seed.

        Torch's initialisers use its global generator of the CPU, whatever the default device; its state is restored
        afterwards. One thread draws at a time.

        Args:
            space: The search space.
            skeleton: The macro-structure.
            seed: Root seed of the run.
            options: Options of mixtures.

        Returns:
            The supernet on the CPU, in training mode.
        """
        with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(derived_seed(seed, "initial weights"))
            return cls(space, skeleton, options=options)

    @contextlib.contextmanager
    def statistics(self, kind: Statistics) -> Iterator[None]:
        """Set the statistics by which BN normalises within a ``with`` block, whatever the network's mode.

        Args:
            kind: Statistics of the batch; these, also updating the running ones; or the running ones.
        """
        before = [(norm.training, norm.track_running_stats) for norm in self._norms]
        try:
            for norm in self._norms:  # bypasses __setattr__ of nn.Module, which would take longer than a small cell
                norm.__dict__["training"] = kind != "running"
                norm.__dict__["track_running_stats"] = kind == "recorded"
            yield
        finally:
            for norm, (training, tracked) in zip(self._norms, before, strict=True):
                norm.__dict__["training"], norm.__dict__["track_running_stats"] = (training, tracked)

    def seed_noise(self, seed: int) -> None:
        """Seed the operations that draw noise (S4).

        Each has a generator of its own, named by its place, so that its noise does not depend on which other edges
        draw any: architectures that share an edge share its noise.

        Args:
            seed: Seed of all of them.
        """
        for name, operation in self._noises.items():
            operation.generator = torch.Generator().manual_seed(derived_seed(seed, name))

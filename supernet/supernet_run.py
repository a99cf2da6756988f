"""A supernet's run folder: its settings, and loading of the network from the folder."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch

from genas.data import DataOptions, ImageData
from genas.devices import resolve_device, resolve_precision
from genas.errors import RunError
from genas.runs import Run
from genas.spaces import SearchSpace, space
from genas.spaces.skeleton import Skeleton
from genas.supernet.network import CellNetwork
from genas.supernet.oneshot import TrainingSettings
from genas.supernet.tensor_files import load_tensors

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

COMMAND = "train-supernet"
"""The command recorded in ``config.yaml`` of a supernet's run."""


@dataclass(frozen=True)
class NetworkOptions:
    """Size and published variations of the supernet.

    Args:
        channels: Channels of the first cells.
        cells: Cells per stage (NAS-Bench-201) or number of cells (DARTS); ``None``: the published number.
        affine: Whether BN inside the cells has a weight and a bias; ``None``: as published (one-shot on NAS-Bench-201
            no, on DARTS yes; differentiable search no).
        conv_bias: Whether NAS-Bench-201's convolutions have a bias (newer AutoDL-Projects).
        head_affine: Whether the BN before NAS-Bench-201's classifier has a weight and a bias (newer AutoDL-Projects:
            no).
    """

    channels: int = 16
    cells: int | None = None
    affine: bool | None = None
    conv_bias: bool = False
    head_affine: bool = True

    def skeleton(self, search_space: SearchSpace, data: ImageData) -> Skeleton:
        """The macro-structure for a space and a data set."""
        skeleton = search_space.supernet_skeleton(
            data.num_classes, data.image_size, data.image_channels, channels=self.channels, cells=self.cells
        )
        affine = skeleton.affine if self.affine is None else self.affine
        return replace(skeleton, affine=affine, conv_bias=self.conv_bias, head_affine=self.head_affine)


@dataclass(frozen=True)
class SupernetConfig:
    """All settings that determine a trained supernet: the ``config.yaml`` of its run.

    Args:
        space: Name of the search space.
        data: Name of the data set.
        data_options: Options of the data set.
        network: Size of the supernet.
        training: Training settings.
        seed: Root seed.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``fp32`` or ``bf16``.
    """

    space: str = "nasbench201"
    data: str = "cluttered-digits"
    data_options: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"

    def settings(self, data: ImageData) -> dict[str, Any]:
        """Content of ``config.yaml`` of the supernet's run; the fingerprint ties the run to its images."""
        return {"command": COMMAND, **vars(self), "data_fingerprint": data.fingerprint}

    def load_data(self) -> ImageData:
        """The data set, on the CPU."""
        return self.data_options.load(self.data, seed=self.seed)

    def initial_network(self, data: ImageData) -> CellNetwork:
        """The supernet before training, on the CPU."""
        search_space = space(self.space)
        return CellNetwork.initialised(search_space, self.network.skeleton(search_space, data), self.seed)


@final
@dataclass(frozen=True)
class TrainedSupernet:
    """A trained supernet with everything that its metrics need.

    Args:
        config: Its settings.
        network: The trained weights, on the device, in evaluation mode.
        initial: The weights before the first step, on the CPU.
        data: The data set, on the device.
        precision: Compute type that the settings select on this device.
    """

    config: SupernetConfig
    network: CellNetwork
    initial: CellNetwork
    data: ImageData
    precision: torch.dtype


def open_supernet(path: Path) -> tuple[Run, SupernetConfig]:
    """Open a finished supernet run without reading its weights.

    Args:
        path: The run folder that ``genas train-supernet`` wrote.

    Returns:
        The run and its settings.

    Raises:
        RunError: If the folder is not a supernet run, or is not finished.
    """
    run = Run.open(path)
    config = _read_config(run)
    if not run.weights.exists():
        raise RunError(
            f"{path} must hold a finished supernet, but has no {run.weights.name}; "
            f"run genas train-supernet {path} again."
        )
    return run, config


def load_supernet(
    path: Path, *, data: ImageData | None = None, device: str | None = None, precision: str | None = None
) -> TrainedSupernet:
    """Read a finished supernet run.

    Args:
        path: The run folder that ``genas train-supernet`` wrote.
        data: Its images, if they are loaded already.
        device: Device; ``None``: as in its settings.
        precision: Compute type; ``None``: as in its settings.

    Returns:
        The supernet.

    Raises:
        RunError: If the folder is not a supernet run or not finished, its images have moved or changed, or a weight
            file does not fit its settings.
    """
    run, config = open_supernet(path)
    where = resolve_device(device or config.device)
    if data is None:
        data = _images(path, config)
    if data.fingerprint != run.config.get("data_fingerprint"):
        raise RunError(
            f"{path} was trained on other images than {config.data} holds now (their fingerprints differ); "
            "bring the images back, or train a new supernet."
        )
    network, initial = config.initial_network(data), config.initial_network(data)
    load_tensors(run.weights, network.load_state_dict)
    load_tensors(run.initial, initial.load_state_dict)
    return TrainedSupernet(
        config,
        network.to(where).eval(),
        initial.eval(),
        data.to(where),
        resolve_precision(precision or config.precision, where),
    )


def _images(path: Path, config: SupernetConfig) -> ImageData:
    try:
        return config.load_data()
    except FileNotFoundError as error:
        raise RunError(
            f"The images of {path} must be where they were when it was trained, but {str(error).rstrip('.')}. If they "
            "have moved, write "
            f"their new place into {path / 'config.yaml'}, as data or data_options.data_root."
        ) from error


def _read_config(run: Run) -> SupernetConfig:
    """The settings of a supernet run.

    Args:
        run: The run.

    Returns:
        Its settings.

    Raises:
        RunError: If they are not a supernet's.
    """
    from jsonargparse import ArgumentError

    settings = {name: value for name, value in run.config.items() if name != "data_fingerprint"}
    command = settings.pop("command", None)
    if command != COMMAND:
        raise RunError(
            f"{run.path} must be a run of genas {COMMAND}, but is one of {command!r}; give the supernet's folder."
        )
    parser = _parser()
    try:
        parsed = parser.parse_object({"supernet": settings})
    except ArgumentError as error:
        raise RunError(
            f"{run.path} has settings that this version of genas does not know: {error}. Train a new supernet."
        ) from error
    config: SupernetConfig = parser.instantiate(parsed).supernet
    return config


@functools.cache
def _parser() -> ArgumentParser:
    """Reader of the settings; to make one takes a tenth of a second."""
    from jsonargparse import ArgumentParser  # keeps imports of the command line out of ``import genas.supernet``

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SupernetConfig, "supernet")
    return parser

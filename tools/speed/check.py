"""Check that the slow reference computes the same as genas; otherwise their speeds could not be compared."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from genas.data import ImageData, Split
from genas.data.splits import stratified_order
from genas.metrics import Accuracy, Angle, Context, Flatness, ScoringSettings
from genas.metrics.noise import perturbed_parameters
from genas.seeding import generator
from genas.spaces import Architecture
from genas.supernet import Calibration, CellNetwork, LearningRate, SupernetTrainer, TrainingSettings, calibrate
from genas.supernet.supernet_run import TrainedSupernet
from speed.networks import DARTSSupernet, NASBench201Supernet
from speed.reference import (
    Draw,
    Images,
    Loader,
    accuracy,
    angle,
    flatness,
    make_optimizer,
    plain,
    recalibrate,
    train_step,
)

SUPERNETS = {"nasbench201": NASBench201Supernet, "darts": DARTSSupernet}
BATCH_SIZE = 64


def reference_of(network: CellNetwork) -> nn.Module:
    """Return the reference supernet with the weights of genas' supernet: both list their layers in the same order."""
    skeleton = network.skeleton
    build = SUPERNETS[network.space.name]
    supernet = build(
        skeleton.channels,
        skeleton.cells,
        skeleton.num_classes,
        skeleton.image_channels,
        affine=skeleton.affine,
        groups=network.options.partial_channels,
    )
    weights = dict(zip(supernet.state_dict(), network.state_dict().values(), strict=True))
    supernet.load_state_dict(weights)
    return supernet


def loader_of(split: Split, data: ImageData, chosen: Tensor, workers: int = 0) -> Loader:
    """Return a plain data loader of some images of a split."""
    images = split.images[chosen].permute(0, 2, 3, 1).numpy()
    dataset = Images(images, split.labels[chosen].numpy(), plain(data.mean, data.std))
    return DataLoader(dataset, BATCH_SIZE, num_workers=workers)


def scoring_loaders(data: ImageData, scoring: ScoringSettings, seed: int, workers: int = 0) -> tuple[Loader, Loader]:
    """Return plain data loaders of the calibration and validation images that a ``Context`` draws."""
    order = generator(seed, "calibration images").permutation(len(data.train))
    calibration = torch.from_numpy(order[: scoring.calibration.images])
    labels, count = data.valid.labels.numpy(), scoring.valid_images
    validation = stratified_order(labels, generator(seed, "validation images"))[:count]
    parts = (data.train, calibration), (data.valid, torch.from_numpy(validation))
    first, second = (loader_of(split, data, chosen, workers) for split, chosen in parts)
    return first, second


def check_same_scores(trained: TrainedSupernet, architectures: Sequence[Architecture]) -> None:
    """Compare logits, angle, accuracy and flatness on a few images, the reference with the same weight noise.

    Args:
        trained: A supernet in float32 on the CPU.
        architectures: Valid architectures.

    Raises:
        ValueError: If a result differs.
    """
    calibration = Calibration("ema", images=2 * BATCH_SIZE, ema_batch_size=BATCH_SIZE)
    scoring = ScoringSettings(valid_images=BATCH_SIZE, calibration=calibration)
    context = Context(trained, scoring)
    loaders = scoring_loaders(trained.data, scoring, context.seed)
    initial, supernet = reference_of(trained.initial), reference_of(trained.network)
    stds, draw = Flatness().noise.stds, _same_noise(context)
    ours = [metric.values(context, architectures) for metric in (Angle(), Accuracy(), Flatness())]
    for architecture, *values in zip(architectures, *ours, strict=True):
        _compare_logits(trained, supernet, architecture, calibration, loaders[0])
        compare("angle", values[0], angle(initial, supernet, architecture), 1e-4)
        compare("accuracy", values[1], accuracy(supernet, architecture, *loaders), 0)
        compare("flatness", values[2], flatness(supernet, architecture, *loaders, stds, draw), 1e-3)


def _same_noise(context: Context) -> Draw:
    levels = dict(zip(Flatness().noise.stds, Flatness().noise.levels, strict=True))

    def draw(_: nn.Module, std: float) -> list[Tensor]:
        (noisy,) = perturbed_parameters(context.supernet, levels[std], context.seed)
        return [noisy[name] - parameter for name, parameter in context.supernet.named_parameters()]

    return draw


@torch.no_grad()
def _compare_logits(
    trained: TrainedSupernet, supernet: nn.Module, architecture: Architecture, settings: Calibration, loader: Loader
) -> None:
    own, path = copy.deepcopy(supernet), supernet.path(architecture)
    recalibrate(own, path, loader)
    pixels = torch.from_numpy(loader.dataset.images).permute(0, 3, 1, 2)
    subnet = calibrate(trained.network.subnet(architecture), trained.data.normalize(pixels), settings)
    images, _ = next(iter(loader))
    compare("logits", subnet(trained.data.normalize(pixels[:BATCH_SIZE])), own(images, path), 1e-3)


def check_same_training(trained: TrainedSupernet, steps: int = 1, images: int = 16) -> None:
    """Compare how far training steps on the same images and paths move the weights, in float64.

    In float32 rounding alone moves a deep network's gradients by a percent. The tolerance of a few thousandths is for
    operations whose output is not read: the reference runs them, so they decay from the first step.

    Args:
        trained: A supernet on the CPU.
        steps: Number of steps.
        images: Images of each step, always the same ones.

    Raises:
        ValueError: If they move the weights differently.
    """
    few = Split(trained.data.train.images[:images], trained.data.train.labels[:images])
    data = replace(trained.data, train=few)
    rate = LearningRate(shape="constant")
    settings = TrainingSettings(batch_size=images, learning_rate=rate, flip=False, crop_padding=0)
    trainer = SupernetTrainer(copy.deepcopy(trained.network).double(), data, settings, seed=0)
    supernet = reference_of(trained.network).double()
    optimizer = make_optimizer(supernet)
    pixels = data.normalize(few.images, torch.float64)
    before = _flat(supernet)
    for step in range(steps):
        (path,) = trainer.sampler.sample(generator(0, "paths", step))
        trainer.step()
        train_step(supernet, optimizer, pixels, few.labels, path)
    compare("training step", _flat(trainer.network) - before, _flat(supernet) - before, 5e-3)


def _flat(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def compare(name: str, ours: object, reference: object, tolerance: float) -> None:
    """Compare two arrays.

    Args:
        name: Name of the quantity.
        ours: Result of genas.
        reference: Result of the reference.
        tolerance: Largest difference, as a share of genas' norm.

    Raises:
        ValueError: If they differ by more.
    """
    first, second = (torch.as_tensor(value).detach().double() for value in (ours, reference))
    difference, size = float((first - second).norm()), float(first.norm())
    if not difference <= tolerance * size:
        raise ValueError(
            f"The reference must compute the same {name} as genas up to a share of {tolerance}, but they differ by "
            f"{difference:.3g} of {size:.3g}; make them agree before their speeds are compared."
        )

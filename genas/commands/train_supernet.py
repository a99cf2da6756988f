"""``genas train-supernet``."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch

from genas.commands.paths import absolute_data, absolute_options
from genas.commands.reporting import say
from genas.data import DataOptions, ImageData
from genas.devices import device_facts, keep_freed_memory, resolve_device, resolve_precision, resolve_threads
from genas.files import json_number, write_json
from genas.metrics import Accuracy, Context, ScoringSettings
from genas.runs import Run
from genas.seeding import generator
from genas.supernet import SupernetTrainer, TrainingSettings, fit
from genas.supernet.fitting import check_checkpoint_seconds
from genas.supernet.supernet_run import NetworkOptions, SupernetConfig, load_supernet


def train_supernet(
    run: Path,
    space: str = "nasbench201",
    data: str = "cluttered-digits",
    data_options: DataOptions = DataOptions(),  # noqa: B008 (frozen)
    network: NetworkOptions = NetworkOptions(),  # noqa: B008 (frozen)
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    checkpoint_seconds: float = 60.0,
    probe: int = 20,
    progress: bool = True,
) -> None:
    """Train a weight-sharing supernet by uniform single-path sampling.

    The same command continues a run that was interrupted. At the end the accuracy of some random subnets tells whether
    the supernet has learnt anything.

    Args:
        run: Folder of the run; made if it does not exist.
        space: Search space: nasbench201, darts, darts7, s1, s2, s3, s4, or one of another package.
        data: Data set: cluttered-digits, digits, cifar10, cifar100, svhn, fashion-mnist, imagenet16-120, npz:PATH,
            folder:PATH, or one of another package.
        data_options: Options of the data set.
        network: Size of the supernet.
        training: Training settings.
        seed: Root seed of everything random.
        device: auto (CUDA if there is one, else cpu), cpu, cuda, cuda:N or mps.
        precision: auto (bf16 where it is faster: CUDA from compute capability 8.0 on, CPUs with AMX), fp32 or bf16.
        threads: CPU threads; by default all available cores. Only with the same number does a continued training end in
            the same bits as an unbroken one.
        checkpoint_seconds: Least time between two checkpoints.
        probe: Number of random subnets whose validation accuracy is measured at the end; 0 for none.
        progress: Whether to show a progress bar.
    """
    check_checkpoint_seconds(checkpoint_seconds)
    if probe < 0:
        raise ValueError(f"probe must not be negative, but got {probe}.")
    where = resolve_device(device)
    compute = resolve_precision(precision, where)
    facts = {**device_facts(where, compute), "threads": resolve_threads(threads), "seed": seed}
    # A run continues with the paths that these words meant when it began, whatever the current folder.
    config = SupernetConfig(
        space,
        absolute_data(data, data_options.data_root),
        absolute_options(data_options),
        network,
        training,
        seed,
        where.type,
        facts["precision"],
    )
    rate = training.learning_rate
    if rate.shape != "constant" and training.epochs > (rate.horizon or training.epochs):
        print(
            f"note: the learning rate is {rate.end:g} after epoch {rate.horizon}, its horizon, of {training.epochs}.",
            file=sys.stderr,
        )
    keep_freed_memory()
    torch.set_num_threads(facts["threads"])
    images = data_options.load(data, seed=seed)
    supernet = config.initial_network(images).to(where)
    trainer = SupernetTrainer(supernet, images.to(where), training, seed=seed, precision=compute)
    with Run.create(run, config.settings(images), {**facts, "data_split": images.split_source}) as folder:
        fit(trainer, folder, checkpoint_seconds=checkpoint_seconds, progress=progress)
        subnets = _probe(run, trainer.data, str(where), probe, seed) if probe else None
        losses = [record["train_loss"] for record in folder.read_log()]
        # The log of a finished run may have been lost.
        write_json(folder.result, {"train_loss": losses[-1] if losses else None, "subnets": subnets})
        say(f"supernet: {folder.weights}")


def _probe(run: Path, data: ImageData, device: str, count: int, seed: int) -> dict[str, float | int | None]:
    """Mean, least and greatest validation accuracy, in [0, 1], of the random subnets whose outputs are finite."""
    trained = load_supernet(run, data=data, device=device)
    rng = generator(seed, "probe")
    architectures = [trained.network.space.sample(rng) for _ in range(count)]
    accuracies = Accuracy().score(Context(trained, ScoringSettings(), seed=seed), architectures)
    known, chance = accuracies[~np.isnan(accuracies)], 1 / trained.data.num_classes
    mean, least, greatest = (float(of(known)) if len(known) else math.nan for of in (np.mean, np.min, np.max))
    if len(known):
        say(
            f"validation accuracy of {len(known)} random subnets: {mean:.1%} on average, from {least:.1%} to "
            f"{greatest:.1%} (chance {chance:.1%})"
        )
    if failed := count - len(known):
        print(f"note: the outputs of {failed} of {count} random subnets are not finite.", file=sys.stderr)
    return {
        "count": count,
        "failures": failed,
        "mean_accuracy": json_number(mean),
        "min_accuracy": json_number(least),
        "max_accuracy": json_number(greatest),
        "chance": chance,
    }

"""Training against a plain loop around torch's SGD, and what each setting changes."""

from __future__ import annotations

import io
import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genas.data import Augmentation, ImageData
from genas.errors import TrainingDiverged
from genas.seeding import generator, torch_generator
from genas.supernet import (
    CellNetwork,
    LearningRate,
    NetworkPath,
    PathSampler,
    PathSampling,
    StandaloneSettings,
    SupernetTrainer,
    TrainingSettings,
    train_standalone,
)
from genas.supernet.operations import Noise

SEED = 11


def settings(**changed: Any) -> TrainingSettings:
    """Short training at a rate that moves the weights visibly."""
    defaults = {"epochs": 2, "batch_size": 8, "learning_rate": LearningRate(0.1, 0.01), "weight_decay": 0.01}
    return TrainingSettings(**(defaults | changed))


def weights_of(network: CellNetwork) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def changed_names(before: dict[str, Tensor], network: CellNetwork) -> set[str]:
    return {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}


def names_of_path(network: CellNetwork, path: NetworkPath) -> set[str]:
    """Parameters of stem, reductions, head, preprocessing, and of the operations on the path's live edges."""
    names = {name for name, _ in network.named_parameters() if ".edges." not in name}
    positions = [position for position, block in enumerate(network.blocks) if block in network.cells]
    for position, cell, genes in zip(positions, network.cells, path, strict=True):
        for edge in cell.cell_type.live_edges(genes):
            prefix = f"blocks.{position}.edges.{edge}.{cell.operations[genes[edge]]}."
            names |= {name for name, _ in network.named_parameters() if name.startswith(prefix)}
    return names


# ------------------------------------------------------------------------------------------------------- slow reference


def plain_training(network: CellNetwork, data: ImageData, chosen: TrainingSettings, steps: int, labels: Tensor) -> None:
    """The loop as one would write it with torch alone: unfused SGD, each formula spelled out."""
    per_epoch = -(-len(labels) // chosen.batch_size)
    parameters = list(network.parameters())
    matrices, vectors = ([p for p in parameters if (p.dim() >= 2) is wanted] for wanted in (True, False))
    groups = [
        {"params": matrices, "weight_decay": chosen.weight_decay},
        {"params": vectors, "weight_decay": chosen.weight_decay if chosen.decay_scope == "all" else 0.0},
    ]
    sgd = torch.optim.SGD(
        groups, lr=1.0, momentum=chosen.momentum, nesterov=chosen.nesterov, foreach=False, fused=False
    )
    sampler = PathSampler(network, chosen.paths)
    augmentation = Augmentation(flip=True, crop_padding=1, cutout=chosen.cutout)
    network.train()
    for step in range(steps):
        epoch, position = divmod(step, per_epoch)
        order = generator(SEED, "batches", epoch).permutation(len(labels))
        batch = torch.from_numpy(order[position * chosen.batch_size :][: chosen.batch_size])
        draws = torch_generator(SEED, "augmentation", step)
        images, _ = data.training_batch(batch, augmentation, draws, torch.float64)
        for group in sgd.param_groups:
            group["lr"] = chosen.learning_rate.at(
                epoch=epoch, step=position, steps_per_epoch=per_epoch, epochs=chosen.epochs
            )
        sgd.zero_grad(set_to_none=not chosen.decay_unsampled)
        for path in sampler.sample(generator(SEED, "paths", step)):
            log_probabilities = network(images, path).log_softmax(1)
            true = log_probabilities[torch.arange(len(batch)), labels[batch]]
            smooth = chosen.label_smoothing
            loss = -((1 - smooth) * true + smooth * log_probabilities.mean(1)).mean()
            loss.backward()
        gradients = [p.grad for p in parameters if p.grad is not None]
        if chosen.gradient_clip:
            norm = torch.stack([(g**2).sum() for g in gradients]).sum().sqrt()
            for gradient in gradients:
                gradient *= min(1.0, chosen.gradient_clip / (float(norm) + 1e-6))
        sgd.step()


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"decay_unsampled": False},
        {"nesterov": False, "momentum": 0.5, "decay_unsampled": True, "gradient_clip": 0.0},
        {"nesterov": False, "momentum": 0.0},
        {"gradient_clip": 0.3, "label_smoothing": 0.1},
        {"decay_scope": "weights", "weight_decay": 0.1},
        {"paths": PathSampling(strict_fairness=True), "cutout": 3},
        {
            "labels": "random",
            "decay_unsampled": False,
            "paths": PathSampling(sharing="network", reject_dead_nodes=False),
        },
    ],
    ids=str,
)
def test_training_equals_a_plain_loop_around_sgd(changed, make_network, make_data) -> None:
    data, chosen, steps = make_data(), settings(**changed), 5
    fast, slow = make_network(classes=4, affine=True).eval(), make_network(classes=4, affine=True)
    start = weights_of(slow)
    trainer = SupernetTrainer(fast, data, chosen, seed=SEED)
    for _ in range(steps):
        trainer.step()
    plain_training(slow, data, chosen, steps, trainer.labels)
    assert all(torch.isfinite(tensor).all() for tensor in slow.state_dict().values())
    assert len(changed_names(start, slow)) > 20
    found = fast.state_dict()
    for name, tensor in slow.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-9, atol=1e-11, msg=name)


def test_darts_training_equals_a_plain_loop_around_sgd(make_network, make_data) -> None:
    data, chosen = make_data(), settings(decay_unsampled=True)
    fast, slow = make_network("darts", classes=4), make_network("darts", classes=4)
    trainer = SupernetTrainer(fast, data, chosen, seed=SEED)
    for _ in range(4):
        trainer.step()
    plain_training(slow, data, chosen, 4, data.train.labels)
    found = fast.state_dict()
    for name, tensor in slow.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-8, atol=1e-10, msg=name)


# ------------------------------------------------------------------------------------------------- unsampled operations


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
@pytest.mark.parametrize("decay_unsampled", [True, False])
def test_the_first_step_changes_exactly_the_parameters_of_its_path(
    name, decay_unsampled, make_network, make_data
) -> None:
    network = make_network(name, classes=4, affine=True)
    trainer = SupernetTrainer(network, make_data(), settings(decay_unsampled=decay_unsampled), seed=SEED)
    (path,) = trainer.sampler.sample(generator(SEED, "paths", 0))
    before = weights_of(network)
    trainer.step()
    expected = names_of_path(network, path)
    assert changed_names(before, network) == expected
    assert len(expected) < len(before)


@pytest.mark.parametrize("decay_unsampled", [True, False])
def test_operations_that_were_touched_once_decay_only_if_asked(decay_unsampled, make_network, make_data) -> None:
    network = make_network(classes=4)
    trainer = SupernetTrainer(network, make_data(), settings(decay_unsampled=decay_unsampled, epochs=9), seed=SEED)
    touched: set[str] = set()
    for step in range(6):
        (path,) = trainer.sampler.sample(generator(SEED, "paths", step))
        now = names_of_path(network, path)
        touched |= now
        before = weights_of(network)
        trainer.step()
        assert changed_names(before, network) == (touched if decay_unsampled else now)
    assert len(touched) > len(now)


# --------------------------------------------------------------------------------------------------------------- labels


def test_random_labels_are_fixed_uniform_and_change_nothing_else(make_network, make_data) -> None:
    data = make_data(train=4000, valid=8)
    images, labels, valid = (tensor.clone() for tensor in (data.train.images, data.train.labels, data.valid.labels))
    network = make_network(classes=4)
    trainers = [SupernetTrainer(network, data, settings(labels="random"), seed=seed) for seed in (1, 1, 2)]
    first, again, other = (trainer.labels for trainer in trainers)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.int64
    counts = Counter(first.tolist())
    assert set(counts) == {0, 1, 2, 3}
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 25, "chi-square, 3 degrees of freedom"
    assert abs(float((first == labels).double().mean()) - 0.25) < 0.04, "independent of the truth"
    for now, before in ((data.train.images, images), (data.train.labels, labels), (data.valid.labels, valid)):
        assert torch.equal(now, before)
    assert SupernetTrainer(network, data, settings(), seed=1).labels is data.train.labels


# -------------------------------------------------------------------------------------------------------------- batches


def test_an_epoch_shows_every_image_once_and_keeps_the_smaller_last_batch(make_network, make_data) -> None:
    data = make_data(train=20, valid=4)
    data.train.images[:] = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1)  # an image is its number
    network = make_network(classes=4)
    trainer = SupernetTrainer(network, data, settings(flip=False, crop_padding=0, epochs=2), seed=SEED)
    assert (trainer.steps_per_epoch, trainer.total_steps) == (3, 6)
    seen: list[list[int]] = []
    normal = data.normalize(data.train.images, torch.float64)[:, 0, 0, 0]
    network.register_forward_pre_hook(
        lambda *hooked: seen.append([int((normal - image[0, 0, 0]).abs().argmin()) for image in hooked[1][0]])
    )
    for _ in range(6):
        trainer.step()
    assert [len(batch) for batch in seen] == [8, 8, 4, 8, 8, 4]
    first, second = [*itertools.chain(*seen[:3])], [*itertools.chain(*seen[3:])]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second != list(range(20))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Augmentation(flip=True, crop_padding=1, cutout=0)),
        ({"flip": False, "crop_padding": 0}, Augmentation()),
        ({"flip": True, "crop_padding": 3, "cutout": 4}, Augmentation(flip=True, crop_padding=3, cutout=4)),
    ],
)
def test_augmentation_is_the_data_sets_own_unless_set(changed, expected, make_network, make_data) -> None:
    trainer = SupernetTrainer(make_network(classes=4), make_data(), settings(**changed), seed=SEED)
    assert trainer.augmentation == expected


@pytest.mark.parametrize("name", ["cutout", "crop_padding"])
def test_augmentations_larger_than_the_images_are_refused(name, make_network, make_data) -> None:
    data = make_data()
    assert getattr(settings(**{name: data.image_size}).augmentation(data), name) == data.image_size
    with pytest.raises(ValueError, match=f"{name} must be at most the images' size, {data.image_size} pixels"):
        SupernetTrainer(make_network(classes=4), data, settings(**{name: data.image_size + 1}), seed=SEED)


def test_training_depends_on_the_seed_and_not_on_global_generators(make_network, make_data) -> None:
    results = []
    for seed, noise in ((1, 5), (1, 6), (2, 5)):
        np.random.seed(noise)  # noqa: NPY002 (the global generators must not matter)
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            network = make_network("s4", classes=4, cells=3)
            state = torch.random.get_rng_state()
            trainer = SupernetTrainer(network, make_data(), settings(), seed=seed)
            for _ in range(3):
                trainer.step()
            assert torch.equal(state, torch.random.get_rng_state())
        results.append(weights_of(network))
    assert all(torch.equal(tensor, results[1][name]) for name, tensor in results[0].items())
    assert any(not torch.equal(tensor, results[2][name]) for name, tensor in results[0].items())


# -------------------------------------------------------------------------------------------------------------- trainer


def test_the_learning_rate_of_each_step_comes_from_the_schedule(make_network, make_data) -> None:
    schedule = LearningRate(0.1, 0.01, shape="linear", every="step", warmup=0.5)
    trainer = SupernetTrainer(make_network(classes=4), make_data(), settings(learning_rate=schedule), seed=SEED)
    for epoch, step in itertools.product(range(2), range(3)):
        trainer.step()
        expected = schedule.at(epoch=epoch, step=step, steps_per_epoch=3, epochs=2)
        assert {group["lr"] for group in trainer.optimizer.param_groups} == {expected}


def test_the_mean_loss_is_over_the_steps_of_the_epoch_so_far(make_network, make_data) -> None:
    network, data = make_network(classes=4), make_data()
    with torch.no_grad():
        network.head.classifier.weight.zero_()
        network.head.classifier.bias.zero_()
    constant = settings(learning_rate=LearningRate(1e-12, 0.0, shape="constant"))
    trainer = SupernetTrainer(network, data, constant, seed=SEED)
    for _ in range(3):
        trainer.step()
        assert trainer.mean_loss == pytest.approx(np.log(4), rel=1e-6)
    trainer.loss_sum.zero_()  # as the loop does after an epoch
    trainer.step()
    assert trainer.mean_loss == pytest.approx(np.log(4), rel=1e-6)


def test_the_mean_loss_of_fair_steps_is_per_path(make_network, make_data) -> None:
    network = make_network(classes=4)
    with torch.no_grad():
        network.head.classifier.weight.zero_()
        network.head.classifier.bias.zero_()
    trainer = SupernetTrainer(network, make_data(), settings(paths=PathSampling(strict_fairness=True)), seed=SEED)
    trainer.step()
    assert trainer.mean_loss == pytest.approx(np.log(4), rel=1e-6)


@pytest.mark.parametrize("decay_unsampled", [True, False])
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_state_written_and_read_goes_on_bit_for_bit(stop, decay_unsampled, make_network, make_data) -> None:
    """The gradient of an operation that was sampled before the stop, but not after it, must be zero, not missing."""
    data, chosen = make_data(), settings(epochs=3, decay_unsampled=decay_unsampled)
    whole = SupernetTrainer(make_network(classes=4), data, chosen, seed=SEED)
    for _ in range(7):
        whole.step()
    first = SupernetTrainer(make_network(classes=4), data, chosen, seed=SEED)
    for _ in range(stop):
        first.step()
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second = SupernetTrainer(make_network(classes=4, seed=5), data, chosen, seed=SEED)
    second.load_state(torch.load(file, weights_only=True))
    for _ in range(7 - stop):
        second.step()
    assert second.step_number == whole.step_number
    assert torch.equal(second.loss_sum, whole.loss_sum)
    found = second.network.state_dict()
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("ruin", ["loss", "weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_noticed(ruin, value, make_network, make_data) -> None:
    trainer = SupernetTrainer(make_network(classes=4), make_data(), settings(), seed=SEED)
    trainer.step()
    trainer.check_finite()
    if ruin == "loss":
        trainer.loss_sum += value
    else:
        with torch.no_grad():
            next(iter(trainer.network.parameters()))[0, 0, 0, 0] = value
    with pytest.raises(
        TrainingDiverged, match=r"must stay finite, but by step 1 of 6 .*(nan|inf).* Lower the learning rate"
    ):
        trainer.check_finite()


class FixedPath:
    """Samples one path for ever."""

    def __init__(self, path: NetworkPath) -> None:
        self.path = path

    def sample(self, rng: np.random.Generator) -> list[NetworkPath]:
        return [self.path]


def test_bfloat16_trains_float32_weights_to_nearly_the_same_loss(make_network, make_data) -> None:
    losses = []
    for precision in (torch.float32, torch.bfloat16):
        network = make_network(channels=4, classes=4).float()
        seen: list[torch.dtype] = []
        network.cells[0].register_forward_hook(lambda *hooked, seen=seen: seen.append(hooked[-1].dtype))
        trainer = SupernetTrainer(network, make_data(), settings(), seed=SEED, precision=precision)
        for _ in range(3):
            trainer.step()
        trainer.check_finite()
        assert precision in seen
        assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
        losses.append(trainer.mean_loss)
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.05)


def test_the_loss_of_narrow_logits_is_wide(make_network, make_data) -> None:
    trainer = SupernetTrainer(make_network(classes=4), make_data(), settings(), seed=SEED)
    loss = trainer.loss(torch.zeros(3, 4, dtype=torch.bfloat16), torch.arange(3))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(math.log(4), abs=1e-6)


def test_the_noise_operations_of_s4_differ_from_step_to_step_but_not_from_run_to_run(make_network, make_data) -> None:
    def noises() -> list[Tensor]:
        seen: list[Tensor] = []
        network = make_network("s4", classes=4)
        (noise, *_) = (module for module in network.modules() if isinstance(module, Noise))
        noise.register_forward_hook(lambda _, __, output: seen.append(output.detach()))
        trainer = SupernetTrainer(network, make_data(train=32), settings(batch_size=16), seed=SEED)
        trainer.sampler = FixedPath(network.path((8,) * 28))  # type: ignore[assignment]
        trainer.step()
        trainer.step()
        return seen

    first, second = noises()
    assert not torch.equal(first, second)
    assert torch.equal(torch.stack(noises()), torch.stack([first, second]))


def test_an_auxiliary_head_is_not_passed_over(make_network, make_data) -> None:
    network = make_network("darts", "darts-cifar", size=32, cells=6, auxiliary=True)
    with pytest.raises(ValueError, match="has no loss for an auxiliary head; build the network with auxiliary=False"):
        SupernetTrainer(network, make_data(), settings(), seed=SEED)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"precision": torch.bfloat16}])
def test_a_standalone_training_has_the_given_seed_and_precision(changed, make_network, make_data) -> None:
    data, chosen = make_data(), StandaloneSettings(epochs=1, batch_size=8)
    weights = []
    for options in ({"seed": 0}, {"seed": 0}, {"seed": 0, **changed}):
        network = make_network(classes=4).subnet((3, 1, 2, 4, 3, 1)).float()
        weights.append(
            torch.cat([p.flatten() for p in train_standalone(network, data, chosen, **options).parameters()])
        )
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_fixed_path_overfits_64_images(make_network, make_data) -> None:
    """Measured over the last 10 of 100 steps, where chance is log K."""
    network = make_network(channels=4, classes=4).float()
    data = make_data(train=64, valid=8)
    chosen = TrainingSettings(
        epochs=100, batch_size=64, learning_rate=LearningRate(0.05, 0.05), flip=False, crop_padding=0
    )
    trainer = SupernetTrainer(network, data, chosen, seed=SEED)
    trainer.sampler = FixedPath(network.path((3, 1, 2, 4, 3, 1)))  # type: ignore[assignment]
    losses = []
    for _ in range(100):
        trainer.loss_sum.zero_()
        trainer.step()
        losses.append(float(trainer.loss_sum))
    assert losses[0] > 0.8 * np.log(4)
    assert np.mean(losses[-10:]) < 0.5 * np.log(4)


# ------------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, but got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, but got 0"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), but got 1.0"),
        ({"momentum": float("nan")}, r"momentum must lie in \[0, 1\), but got nan"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov needs a momentum above 0"),
        ({"weight_decay": 0.0, "decay_scope": "weights"}, "decay_scope=weights would do nothing with weight_decay=0"),
        ({"label_smoothing": -0.1}, r"label_smoothing must lie in \[0, 1\), but got -0.1"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative, but got -1.0"),
        ({"gradient_clip": float("nan")}, "gradient_clip must not be negative, but got nan"),
        ({"cutout": -2}, "cutout must not be negative, but got -2"),
    ],
)
def test_settings_out_of_range_are_refused(changed, message) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**changed)

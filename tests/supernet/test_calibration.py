"""BN statistics of subnets against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genas.supernet import Calibration, CellNetwork, calibrate, evaluate

GENES = (3, 1, 2, 4, 3, 1)


def layers(network: CellNetwork) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def stem_output(network: CellNetwork, images: Tensor) -> Tensor:
    return network.stems[0].conv(images).detach()  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_exact_evaluation_repeats_the_calibrating_pass(name, shared_network, random_images, architectures) -> None:
    network, images = shared_network(name), random_images(8)
    for architecture in architectures(network.space, 2, seed=4):
        by_batch = network.subnet(architecture).train()(images)
        subnet = calibrate(network.subnet(architecture), images, Calibration("exact", images=8))
        assert not any(module.training for module in subnet.modules())
        torch.testing.assert_close(subnet(images), by_batch, rtol=1e-11, atol=1e-11)


def test_exact_statistics_are_mean_and_variance_of_the_population(make_network, random_images) -> None:
    subnet, images = make_network().subnet(GENES), random_images(8)
    inputs: dict[nn.Module, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda module, args: inputs.__setitem__(module, args[0]))
        for layer in layers(subnet)
    ]
    calibrate(subnet, images, Calibration())
    for hook in hooks:
        hook.remove()
    for layer in layers(subnet):
        pixels = inputs[layer].transpose(0, 1).flatten(1)
        torch.testing.assert_close(layer.running_mean, pixels.mean(1))
        torch.testing.assert_close(layer.running_var, ((pixels - pixels.mean(1, keepdim=True)) ** 2).mean(1))


@pytest.mark.parametrize("mode", ["exact", "ema"])
def test_a_calibration_that_fails_leaves_no_trace_in_later_ones(mode, make_network, random_images, monkeypatch) -> None:
    """As where memory does not suffice for the images."""
    settings, images = Calibration(mode), random_images(8)
    expected = calibrate(make_network().subnet(GENES), images, settings)
    failed = make_network().subnet(GENES)

    def fail(_: Tensor) -> Tensor:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(failed.head, "forward", fail)
        with pytest.raises(MemoryError):
            calibrate(failed, images, settings)
    calibrate(failed, images, settings)
    failed.train()(images)
    expected.train()(images)
    for first, second in zip(layers(failed), layers(expected), strict=True):
        assert torch.equal(first.running_var, second.running_var)
        assert not first._forward_hooks


@pytest.mark.parametrize("mode", ["exact", "ema", "batch"])
def test_calibration_forgets_what_the_network_held_and_keeps_its_weights_and_momentum(
    mode, make_network, random_images
) -> None:
    network, images = make_network(), random_images(8)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    settings = Calibration("ema", ema_batch_size=3, ema_momentum=0.3) if mode == "ema" else Calibration(mode)
    once = calibrate(network.subnet(GENES), images, settings)
    twice = calibrate(calibrate(network.subnet(GENES), 3 * images + 1, settings), images, settings)
    for first, second in zip(layers(once), layers(twice), strict=True):
        assert torch.equal(first.running_mean, second.running_mean)
        assert torch.equal(first.running_var, second.running_var)
    assert {layer.momentum for layer in layers(once)} == {0.1}
    assert not any(layer._forward_hooks for layer in layers(once))
    assert all(torch.equal(parameter, before[name]) for name, parameter in once.named_parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()), "the supernet"


def test_exact_statistics_do_not_depend_on_the_order_of_the_images(make_network, random_images) -> None:
    network, images = make_network(), random_images(8)
    first, second = (calibrate(network.subnet(GENES), batch, Calibration()) for batch in (images, images.flip(0)))
    torch.testing.assert_close(first(images), second(images), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------------ ema


def test_ema_is_the_moving_average_over_batches_with_unbiased_variances(make_network, random_images) -> None:
    subnet, images = make_network().subnet(GENES), random_images(8)
    calibrate(subnet, images, Calibration("ema", ema_batch_size=3, ema_momentum=0.2))
    mean, variance = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for batch in (images[:3], images[3:6], images[6:]):
        pixels = stem_output(subnet, batch).transpose(0, 1).flatten(1)
        mean, variance = 0.8 * mean + 0.2 * pixels.mean(1), 0.8 * variance + 0.2 * pixels.var(1)
    stem = layers(subnet)[0]
    torch.testing.assert_close(stem.running_mean, mean)
    torch.testing.assert_close(stem.running_var, variance)


def test_three_batches_of_ema_leave_a_third_power_of_the_start(make_network, random_images) -> None:
    """Black images have variance 0 behind the stem's convolution: only the start value is left."""
    settings = Calibration("ema", images=10, ema_batch_size=4, ema_momentum=0.3)
    subnet = calibrate(make_network().subnet(GENES), torch.zeros_like(random_images(10)), settings)
    torch.testing.assert_close(layers(subnet)[0].running_var, torch.full((2,), 0.7**3, dtype=torch.float64))


# ---------------------------------------------------------------------------------------------------------------- batch


def test_batch_normalises_every_batch_by_itself(make_network, random_images) -> None:
    network, images, labels = make_network(), random_images(8), torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    subnet = calibrate(network.subnet(GENES), random_images(5, seed=9), Calibration("batch"))
    reference = network.subnet(GENES).train()
    for batch in (images, images[:3]):
        torch.testing.assert_close(subnet(batch), reference(batch), rtol=0, atol=0)
    assert evaluate(subnet, images, labels, batch_size=8) != evaluate(subnet, images, labels, batch_size=4)


@pytest.mark.parametrize("settings", [Calibration("exact"), Calibration("ema", ema_batch_size=4)])
def test_calibrated_outputs_do_not_depend_on_the_batch(settings, make_network, random_images) -> None:
    network, images = make_network(), random_images(8)
    subnet = calibrate(network.subnet(GENES), images, settings)
    torch.testing.assert_close(subnet(images[:2]), subnet(images)[:2], rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 0}, "images and ema_batch_size must be at least 1, but got 0 and 64"),
        ({"ema_batch_size": 0}, "images and ema_batch_size must be at least 1, but got 1024 and 0"),
        ({"ema_momentum": 0.5}, "ema_momentum would do nothing in mode exact; leave it out"),
        ({"mode": "batch", "images": 8, "augmented": True}, "images and augmented would do nothing in mode batch"),
        ({"ema_momentum": 0.0}, r"ema_momentum must lie in \(0, 1\], but got 0.0"),
        ({"ema_momentum": float("nan")}, r"ema_momentum must lie in \(0, 1\], but got nan"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Calibration(**settings)


@pytest.mark.parametrize("mode", ["exact", "ema"])
def test_no_more_images_are_used_than_the_settings_say(mode, make_network, random_images) -> None:
    images, settings = random_images(12), Calibration(mode, images=8)
    first, second = (
        calibrate(make_network().subnet((3, 1, 2, 4, 3, 1)), given, settings).state_dict()
        for given in (images, images[:8])
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())

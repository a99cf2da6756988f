from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genas.data import Augmentation, ImageData


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_crop_and_flip(images: Tensor, padding: int, flip: bool, generator: torch.Generator, border: float) -> Tensor:
    """Image by image, pixel by pixel, from the same draws."""
    count, channels, size, _ = images.shape
    shifts = torch.randint(2 * padding + 1, (2, count, 1), generator=generator) if padding else torch.zeros(2, count, 1)
    mirrored = torch.rand((count, 1), generator=generator) < 0.5 if flip else torch.zeros(count, 1)
    result = torch.empty_like(images)
    for n in range(count):
        for row in range(size):
            for column in range(size):
                source_row = row + int(shifts[0, n]) - padding
                source_column = (size - 1 - column if mirrored[n] else column) + int(shifts[1, n]) - padding
                inside = 0 <= source_row < size and 0 <= source_column < size
                for channel in range(channels):
                    result[n, channel, row, column] = (
                        images[n, channel, source_row, source_column] if inside else border
                    )
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("padding", "flip"), [(2, True), (3, False), (0, True)])
def test_crop_and_flip_against_the_slow_version(channels: int, padding: int, flip: bool) -> None:
    images = torch.randint(256, (12, channels, 5, 5), dtype=torch.uint8, generator=seeded(1))
    fast = Augmentation(flip=flip, crop_padding=padding)(images, seeded(), border=7)
    assert fast.dtype == torch.uint8
    assert torch.equal(fast, slow_crop_and_flip(images, padding, flip, seeded(), 7))


def test_border_of_normalised_images_may_differ_by_channel() -> None:
    images = torch.zeros(50, 3, 4, 4, dtype=torch.float64)
    border = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    moved = Augmentation(crop_padding=4)(images, seeded(), border=border)
    for channel in range(3):
        assert set(moved[:, channel].flatten().tolist()) == {0.0, channel + 1.0}


def test_crop_in_pixels_pads_with_black_before_normalisation(data: ImageData) -> None:
    """Torchvision's order: pad with 0, then normalise; so the border is -mean / std, not 0."""
    augmentation = Augmentation(crop_padding=8)
    indices = torch.arange(32)
    batch, labels = data.training_batch(indices, augmentation, seeded(), torch.float64)
    black = [-m / s for m, s in zip(data.mean, data.std, strict=True)]
    border = torch.tensor(black, dtype=torch.float64)
    float_first = augmentation(data.normalize(data.train.images, torch.float64), seeded(), border=border)
    torch.testing.assert_close(batch, float_first, rtol=1e-12, atol=1e-12)
    assert torch.isclose(batch[:, 0], border[0]).any()
    assert torch.equal(labels, data.train.labels)


def test_every_crop_position_and_both_directions_occur_equally_often() -> None:
    count, padding = 18_000, 1
    images = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    images[0, 0] = torch.arange(1, 10, dtype=torch.uint8).view(3, 3)
    moved = Augmentation(flip=True, crop_padding=padding)(images.expand(count, -1, -1, -1), seeded())
    frequencies = moved[:, 0, 1, 1].bincount()
    assert len(frequencies) == 10
    assert frequencies[0] == 0
    # Nine positions, 2,000 expected each, standard deviation 42.
    assert (frequencies[1:] - count / 9).abs().max() < 5 * 42
    # Away from the border the direction shows in the order of the middle row.
    whole = moved[(moved[:, 0, 1] > 0).all(dim=1)][:, 0, 1]
    mirrored = (whole[:, 0] > whole[:, 2]).double().mean()
    assert abs(float(mirrored) - 0.5) < 5 * 0.5 / len(whole) ** 0.5


@pytest.mark.parametrize("side", [1, 2, 3, 4, 16])
def test_cutout_against_the_slow_version(side: int) -> None:
    size, count = 8, 200
    images = torch.ones(count, 2, size, size)
    centres = torch.randint(size, (2, count, 1), generator=seeded())
    expected = images.clone()
    for n in range(count):
        top, left = int(centres[0, n]) - side // 2, int(centres[1, n]) - side // 2
        expected[n, :, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    cut = Augmentation(cutout=side)(images, seeded())
    assert torch.equal(cut, expected)
    assert torch.equal(images, torch.ones_like(images)), "the input must not change"


def test_cutout_blanks_whole_squares_inside_and_clipped_ones_at_the_border() -> None:
    blanks = (Augmentation(cutout=4)(torch.ones(4_000, 1, 8, 8), seeded()) == 0).sum(dim=(1, 2, 3))
    assert int(blanks.max()) == 16
    assert int(blanks.min()) == 4  # centre in the corner: half of each side
    # Per axis the overlap is 2, 3, 4 x 5, 3 for centres 0..7, so 3.5 on average; the axes are independent.
    assert abs(float(blanks.double().mean()) - 3.5**2) < 0.25


def test_cutout_blanks_with_the_mean_in_a_training_batch(data: ImageData) -> None:
    batch, _ = data.training_batch(torch.arange(32), Augmentation(cutout=32), seeded())
    assert torch.equal(batch, torch.zeros_like(batch))
    dark = data.training_batch(torch.arange(32), Augmentation(), seeded())[0]
    assert not torch.equal(batch, dark)


def test_cutout_refuses_pixels() -> None:
    with pytest.raises(TypeError, match=r"mean of normalised images, but got torch.uint8; normalise first"):
        Augmentation(cutout=2)(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), seeded())


@pytest.mark.parametrize("name", ["crop_padding", "cutout"])
def test_negative_sizes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be negative, but got -1"):
        Augmentation(**{name: -1})  # type: ignore[arg-type]


def test_nothing_asked_nothing_done() -> None:
    images, generator = torch.rand(2, 3, 4, 4), seeded()
    before = generator.get_state()
    assert torch.equal(Augmentation()(images, generator), images)
    assert torch.equal(generator.get_state(), before)


def test_same_generator_same_batch_and_the_global_generator_untouched(data: ImageData) -> None:
    before = torch.get_rng_state()
    augmentation = Augmentation(flip=True, crop_padding=2, cutout=4)
    batches = [data.training_batch(torch.arange(9), augmentation, seeded(seed))[0] for seed in (3, 3, 4)]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_do_not_depend_on_the_device(data: ImageData) -> None:
    """Without a second device: on ``meta`` nothing is computed, but the CPU generator must move on exactly as far."""
    augmentation = Augmentation(flip=True, crop_padding=2, cutout=4)
    on_cpu, on_meta = seeded(), seeded()
    augmentation(torch.rand(5, 3, 8, 8), on_cpu)
    result = augmentation(torch.rand(5, 3, 8, 8, device="meta"), on_meta)
    assert result.device.type == "meta"
    assert torch.equal(on_cpu.get_state(), on_meta.get_state())


@pytest.mark.parametrize("cutout", [0, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_memory(channels: int, cutout: int) -> None:
    images = torch.rand(4, 8, 8, channels).permute(0, 3, 1, 2)
    result = Augmentation(flip=True, crop_padding=1, cutout=cutout)(images, seeded())
    assert result.stride() == (64 * channels, 1, 8 * channels, channels)

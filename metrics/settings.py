"""Settings of the evaluation of subnets."""

from __future__ import annotations

from dataclasses import dataclass, field

from genas.supernet import Calibration


@dataclass(frozen=True)
class ScoringSettings:
    """Settings of the evaluation of subnets.

    Args:
        valid_images: Largest number of validation images, drawn once with the classes in proportion; ``None``: all.
        calibration: Calibration of the BN statistics.
        batch_size: Images per forward pass.

    Raises:
        ValueError: If a number is not positive.
    """

    valid_images: int | None = 2000
    calibration: Calibration = field(default_factory=Calibration)
    batch_size: int = 128

    def __post_init__(self) -> None:
        if self.batch_size < 1 or (self.valid_images is not None and self.valid_images < 1):
            raise ValueError(
                f"valid_images and batch_size must be at least 1, but got {self.valid_images} and {self.batch_size}."
            )

"""Training a network step by step, resumable bit for bit."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.choices import check_choices
from genas.data import Augmentation, ImageData
from genas.devices import compute_float32_in_full
from genas.errors import TrainingDiverged
from genas.seeding import derived_seed, generator, torch_generator
from genas.supernet.network import CellNetwork
from genas.supernet.schedules import LearningRate


@dataclass(frozen=True)
class Optimization:
    """Training settings of a network, be it a supernet or a stand-alone one.

    Args:
        epochs: Passes over the training images.
        batch_size: Images per step; the last, smaller batch of an epoch is kept.
        learning_rate: The schedule.
        momentum: Momentum of SGD.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: L2 penalty inside the gradient.
        decay_scope: ``all`` parameters, or only the ``weights`` of convolutions and the classifier (tensors of two or
            more dimensions).
        gradient_clip: Largest global gradient norm; 0 for none.
        label_smoothing: Mass moved from the true class to the uniform distribution.
        flip: Whether images are mirrored at random; ``None``: the data set's default.
        crop_padding: Padding in pixels of the random crop; ``None``: the default for the image size.
        cutout: Side of the square that is cut out, in pixels; 0 for none.

    Raises:
        ValueError: If a number is out of range.
    """

    epochs: int = 50
    batch_size: int = 64
    learning_rate: LearningRate = field(default_factory=LearningRate)
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_scope: Literal["all", "weights"] = "all"
    gradient_clip: float = 5.0
    label_smoothing: float = 0.0
    flip: bool | None = None
    crop_padding: int | None = None
    cutout: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}.")
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), but got {getattr(self, name)}.")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, but momentum is 0; set nesterov to false.")
        for name in ("weight_decay", "gradient_clip", "cutout"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must not be negative, but got {getattr(self, name)}.")
        if self.decay_scope != "all" and not self.weight_decay:
            raise ValueError(f"decay_scope={self.decay_scope} would do nothing with weight_decay=0; set it to all.")

    def augmentation(self, data: ImageData) -> Augmentation:
        """The random augmentation of a data set's images.

        Args:
            data: The data set.

        Returns:
            The augmentation.

        Raises:
            ValueError: If ``cutout`` or ``crop_padding`` is larger than the images, so that little is left of them.
        """
        for name in ("cutout", "crop_padding"):
            if (getattr(self, name) or 0) > data.image_size:
                raise ValueError(
                    f"{name} must be at most the images' size, {data.image_size} pixels, but got {getattr(self, name)}."
                )
        return Augmentation(
            flip=data.flip if self.flip is None else self.flip,
            crop_padding=data.crop_padding if self.crop_padding is None else self.crop_padding,
            cutout=self.cutout,
        )


class Trainer(abc.ABC):
    """Trains a network step by step; a subclass defines what happens with a batch.

    Every random draw is a function of (seed, stream, epoch or step): no generator's state has to be saved, so a
    checkpoint consists of the weights, the momentum and the number of steps, and training continues from it as if it
    had never stopped.

    Args:
        network: The network, already on its device.
        data: Images on the same device.
        settings: Training settings.
        seed: Root seed.
        precision: Compute type of the forward pass: float32, or bfloat16 through autocast.

    Raises:
        ValueError: If the network has an auxiliary head, whose loss no trainer has.
    """

    cure_of_divergence: ClassVar[str] = "Lower the learning rate, or set gradient_clip"
    """What helps when a training diverges, for messages."""

    def __init__(
        self,
        network: CellNetwork,
        data: ImageData,
        settings: Optimization,
        *,
        seed: int,
        precision: torch.dtype = torch.float32,
    ) -> None:
        if network.skeleton.auxiliary:
            raise ValueError("A trainer has no loss for an auxiliary head; build the network with auxiliary=False.")
        self.network, self.data, self.settings, self.seed, self.precision = network, data, settings, seed, precision
        self.device, self.dtype = data.train.images.device, next(network.parameters()).dtype
        compute_float32_in_full(self.device)
        self.augmentation = settings.augmentation(data)
        self.labels = data.train.labels
        self.steps_per_epoch = math.ceil(len(self.labels) / settings.batch_size)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.step_number = 0
        self.loss_sum = torch.zeros((), device=self.device)
        self.optimizer = self._make_optimizer()
        self._orders: dict[str, tuple[int, Tensor]] = {}

    @abc.abstractmethod
    def learn(self, images: Tensor, labels: Tensor) -> None:
        """Learn from one batch: update the weights, and add the training loss to ``loss_sum``.

        Args:
            images: Augmented and normalised, shape ``(b, channels, size, size)``.
            labels: Class indices, shape ``(b,)``.
        """

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.step_number >= self.total_steps

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next step belongs to, from 0."""
        return self.step_number // self.steps_per_epoch

    def _make_optimizer(self) -> torch.optim.Optimizer:
        settings, parameters = self.settings, list(self.network.parameters())
        groups: list[dict[str, Any]] = [{"params": parameters, "weight_decay": settings.weight_decay}]
        if settings.decay_scope == "weights":
            groups = [
                {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
                {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
            ]
        optimizer = torch.optim.SGD(
            groups,
            lr=settings.learning_rate.start,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            fused=self.device.type in ("cpu", "cuda"),
        )
        # Torch's fused SGD cannot start the momentum of one parameter later than that of others.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer

    def step(self) -> None:
        """One step: draw a batch and learn from it."""
        epoch, position = divmod(self.step_number, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(epoch, position)
        images, labels = self._batch(epoch, position)
        if not self.network.training:  # setting a thousand modules at every step would cost as much as running some
            self.network.train()
        self.network.seed_noise(derived_seed(self.seed, "noise operations", self.step_number))
        self.learn(images, labels)
        self.step_number += 1

    def learning_rate(self, epoch: int, position: int) -> float:
        """Learning rate of the weights in one step.

        Args:
            epoch: Number of the epoch, from 0.
            position: Number of the step in the epoch, from 0.

        Returns:
            The settings' learning rate.
        """
        settings = self.settings
        return settings.learning_rate.at(
            epoch=epoch, step=position, steps_per_epoch=self.steps_per_epoch, epochs=settings.epochs
        )

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy in nats, in float32 at least."""
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return functional.cross_entropy(wide, labels, label_smoothing=self.settings.label_smoothing)

    def move_weights(self) -> None:
        """Clip the gradients of the weights and take one step of SGD."""
        if self.settings.gradient_clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.optimizer.step()

    def _batch(self, epoch: int, position: int) -> tuple[Tensor, Tensor]:
        start = position * self.settings.batch_size
        chosen = self.shuffled("batches", epoch, len(self.labels))[start : start + self.settings.batch_size]
        draws = torch_generator(self.seed, "augmentation", self.step_number)
        images, _ = self.data.training_batch(chosen, self.augmentation, draws, self.dtype)
        return images, self.labels[chosen]

    def shuffled(self, stream: str, epoch: int, count: int) -> Tensor:
        """A random order that lasts for an epoch.

        Args:
            stream: Name of the random stream.
            epoch: Number of the epoch, from 0.
            count: Number of positions.

        Returns:
            The positions ``0 .. count - 1``, shape ``(count,)``, on the device.
        """
        if stream not in self._orders or self._orders[stream][0] != epoch:
            order = generator(self.seed, stream, epoch).permutation(count)
            self._orders[stream] = epoch, torch.from_numpy(order).to(self.device)
        return self._orders[stream][1]

    @property
    def mean_loss(self) -> float:
        """Mean training loss of the current epoch so far, in nats, each step counted once."""
        steps = self.step_number % self.steps_per_epoch or self.steps_per_epoch
        return float(self.loss_sum) / steps

    def learnt(self) -> dict[str, Tensor]:
        """The trained tensors by name, as saved in ``weights.safetensors``."""
        return self.network.state_dict()

    def load_learnt(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors that :meth:`learnt` returned at the end of a training; no step is left then.

        Args:
            tensors: The trained tensors by name.

        Raises:
            KeyError: If one of a subclass's own is missing.
            RuntimeError: If the network's are others, or have other shapes.
        """
        self.network.load_state_dict(tensors)
        self.step_number = self.total_steps

    def end_epoch(self) -> dict[str, Any]:
        """Close an epoch, after its last step.

        Returns:
            Its line of the log: plain values.
        """
        record = {
            "epoch": self.epoch,
            "step": self.step_number,
            "train_loss": self.mean_loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        self.loss_sum.zero_()
        return record

    def state(self) -> dict[str, Any]:
        """The complete state of the training, for ``torch.save``."""
        return {
            "step_number": self.step_number,
            "loss_sum": self.loss_sum,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "touched": [parameter.grad is not None for parameter in self.network.parameters()],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that :meth:`state` returned."""
        self.step_number = state["step_number"]
        self.loss_sum.copy_(state["loss_sum"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        # Weight decay of unsampled operations acts on those that have had a gradient, even a zero one.
        for parameter, touched in zip(self.network.parameters(), state["touched"], strict=True):
            parameter.grad = torch.zeros_like(parameter) if touched else None

    def check_finite(self) -> None:
        """Stop a training that has diverged.

        Raises:
            TrainingDiverged: If the sum of this epoch's losses or a weight is not finite. The weights are checked, too,
                because the step that ruins one still has a finite loss, and must not be saved.
        """
        self._check_sum("weights", self.network.parameters())

    def _check_sum(self, what: str, tensors: Iterable[Tensor]) -> None:
        total = torch.stack([tensor.detach().sum() for tensor in tensors])
        if not (torch.isfinite(self.loss_sum) and torch.isfinite(total).all()):
            raise TrainingDiverged(
                f"The training loss and the {what} must stay finite, but by step {self.step_number} of "
                f"{self.total_steps} the sum of the epoch's losses is {float(self.loss_sum)} and that of the {what} "
                f"{float(total.sum())}. If there is a checkpoint, it is the last good one. "
                f"{self.cure_of_divergence}, in a new run."
            )

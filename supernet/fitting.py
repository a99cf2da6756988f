"""The loop around a trainer: progress, log, checkpoints, resume."""

from __future__ import annotations

import io
import textwrap
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from tqdm import tqdm

from genas.errors import RunError
from genas.files import atomic_write
from genas.runs import Run
from genas.supernet.training import Trainer

CHECK_STEPS = 50
"""Steps between two checks of the loss: reading it makes a GPU wait."""


def check_checkpoint_seconds(seconds: float) -> None:
    """Check the time between two checkpoints, such as before the images are loaded.

    Args:
        seconds: Least time between two checkpoints.

    Raises:
        ValueError: If it is negative.
    """
    if not seconds >= 0:
        raise ValueError(f"checkpoint_seconds must not be negative, but got {seconds}.")


def fit(trainer: Trainer, run: Run, *, checkpoint_seconds: float = 60.0, progress: bool = True) -> None:
    """Train to the end, from the last checkpoint if the run has one.

    Writes ``initial.safetensors`` before the first step, ``state.pt`` during training, one line of ``log.jsonl`` per
    epoch (with the ``seconds`` since this call), and ``weights.safetensors`` at the end; the state is then removed. On
    a CPU a training that was killed and started again with as many threads ends in the same weights, bit for bit, as an
    unbroken one.

    Args:
        trainer: A new trainer. That of a finished run takes over the trained weights.
        run: A run folder open for writing.
        checkpoint_seconds: Least time between two checkpoints; 0 for one after every step.
        progress: Whether to show a progress bar on standard error.

    Raises:
        ValueError: If ``checkpoint_seconds`` is negative.
        TrainingDiverged: If the loss is not finite; the last good checkpoint stays.
        RunError: If ``state.pt`` cannot be read, or the trained weights of a finished run are not the network's.
    """
    check_checkpoint_seconds(checkpoint_seconds)
    if run.weights.exists():
        _load_weights(trainer, run.weights)
        run.state.unlink(missing_ok=True)  # killed between the two
        return
    if run.state.exists():
        trainer.load_state(_read_state(run))
    else:
        _save_weights(trainer, run.initial)
    finished_epochs = trainer.step_number // trainer.steps_per_epoch
    run.keep_log(lambda record: record.get("epoch", 0) <= finished_epochs)
    started_at = saved_at = time.monotonic()
    with tqdm(
        total=trainer.total_steps,
        initial=trainer.step_number,
        desc="train",
        unit="step",
        disable=not progress,
        dynamic_ncols=True,
    ) as bar:
        while not trainer.finished:
            trainer.step()
            bar.update()
            epoch_ends = trainer.step_number % trainer.steps_per_epoch == 0
            checkpoint_due = time.monotonic() - saved_at >= checkpoint_seconds
            if epoch_ends or checkpoint_due or trainer.step_number % CHECK_STEPS == 0:
                trainer.check_finite()
                bar.set_postfix(loss=f"{trainer.mean_loss:.3f}", refresh=False)
            if epoch_ends:
                run.log({**trainer.end_epoch(), "seconds": round(time.monotonic() - started_at, 3)})
                # The end of an epoch may take long, as a round of a projection does.
                checkpoint_due = time.monotonic() - saved_at >= checkpoint_seconds
            if checkpoint_due:
                _save_state(trainer, run.state)
                saved_at = time.monotonic()
    _save_weights(trainer, run.weights)
    run.state.unlink(missing_ok=True)


# Python writes both files, since of a full disk neither library raises an OSError.


def _save_state(trainer: Trainer, path: Path) -> None:
    content = io.BytesIO()
    torch.save(trainer.state(), content)
    atomic_write(path, lambda temporary: temporary.write_bytes(content.getbuffer()))


def _save_weights(trainer: Trainer, path: Path) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trainer.learnt().items()}
    content = save(state)
    atomic_write(path, lambda temporary: temporary.write_bytes(content))


def _load_weights(trainer: Trainer, path: Path) -> None:
    try:
        trainer.load_learnt(load_file(path))
    except (SafetensorError, KeyError, RuntimeError) as error:
        reason = textwrap.shorten(str(error), 200, placeholder="...")  # torch names every tensor
        raise RunError(
            f"{path} does not hold what this training learnt ({reason}); restore it, or delete it to train on."
        ) from error


def _read_state(run: Run) -> dict[str, Any]:
    content = io.BytesIO(run.state.read_bytes())  # an error of the machine, which is none of the file
    try:
        state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file, and advises to load it without a guard
        raise RunError(
            f"{run.state} cannot be read ({type(error).__name__}); delete it to train from the start."
        ) from error
    return state

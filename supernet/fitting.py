"""The loop around a trainer: progress, log, checkpoints, resume."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from genas.errors import RunError
from genas.files import atomic_write
from genas.runs import Run
from genas.supernet.tensor_files import load_tensors, save_tensors
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
        load_tensors(run.weights, trainer.load_learnt)
        run.state.unlink(missing_ok=True)  # killed between the two
        return
    if run.state.exists():
        trainer.load_state(_read_state(run))
    else:
        save_tensors(run.initial, trainer.learnt())
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
    save_tensors(run.weights, trainer.learnt())
    run.state.unlink(missing_ok=True)


def _save_state(trainer: Trainer, path: Path) -> None:
    content = io.BytesIO()
    torch.save(trainer.state(), content)
    # Python writes it, since of a full disk the library does not raise an OSError.
    atomic_write(path, lambda temporary: temporary.write_bytes(content.getbuffer()))


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

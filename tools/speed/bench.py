"""The jobs that genas and the reference run in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar, final

import torch

from genas.commands.evaluation import Scores, measure_rows
from genas.commands.reporting import say
from genas.devices import device_facts
from genas.environment import environment
from genas.metrics import Context, angle_table, parse_metric
from genas.search import process_pool
from genas.seeding import generator
from genas.spaces import Architecture, NASBench201
from genas.supernet.supernet_run import load_supernet
from speed.check import BATCH_SIZE, check_same_scores, check_same_training
from speed.sides import (
    Setting,
    angles_reference,
    evaluate_genas,
    evaluate_reference,
    in_a_worker,
    peak_memory,
    score_reference,
    train_genas,
    train_reference,
)

T = TypeVar("T")
Timed = Callable[[int], float]

METRIC = parse_metric("angle+accuracy+flatness")
ANGLES, REFERENCE_ANGLES = 15_625, 20
WARM_STEPS = 5
MIXED = {"nasbench201": "3,1,2,1,3,2", "darts": "GENAS_FLATNESS_C10"}
"""The subnet whose evaluation is timed: one with most of the operations; on DARTS, GeNAS' flattest on CIFAR-10."""


@final
@dataclass(frozen=True)
class Comparison:
    """The rates of both sides, round by round.

    Args:
        job: Name of the job.
        unit: Unit of the rates.
        genas: Rate of genas in each round.
        reference: Rate of the reference in each round.
    """

    job: str
    unit: str
    genas: list[float]
    reference: list[float]

    @property
    def cells(self) -> list[str]:
        """Job, unit, and the medians of both sides and of their ratio, with the least and the greatest value."""
        ratios = [ours / theirs for ours, theirs in zip(self.genas, self.reference, strict=True)]
        return [self.job, self.unit, *(_with_spread(values) for values in (self.genas, self.reference, ratios))]


def _with_spread(values: Sequence[float]) -> str:
    return f"{median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


@final
class Bench:
    """Both sides at work, in turns.

    Args:
        setting: The shared setting.
        ours: The process in which genas trains.
        other: The process of the reference.
        rounds: Number of timings of each job on each side.
    """

    def __init__(self, setting: Setting, ours: ProcessPoolExecutor, other: ProcessPoolExecutor, rounds: int) -> None:
        self.setting, self.ours, self.other, self.rounds = setting, ours, other, rounds
        recipe = setting.recipe
        self.supernet = load_supernet(recipe.run, device="cpu", precision=recipe.precision)
        self.space = self.supernet.network.space
        self.mixed = self.space.parse(MIXED[self.space.name])
        self.images = min(recipe.scoring.valid_images or 0, len(self.supernet.data.valid))

    def facts(self) -> dict[str, Any]:
        """The facts on which the figures depend."""
        machine, scoring = environment(), self.setting.recipe.scoring
        used = device_facts(torch.device("cpu"), self.supernet.precision)
        return {
            **{name: machine[name] for name in ("cpu", "python", "torch", "genas", "commit")},
            "cores": used["cores"],
            "threads": self.setting.threads,
            "precision": f"genas {used['precision']}, reference fp32",
            "supernet": f"{self.space.name}, {self.supernet.network.skeleton.channels} channels",
            "data": f"{self.setting.config.data}, {self.supernet.data.image_size} pixels",
            "scoring": f"{scoring.calibration.images} images to calibrate ({scoring.calibration.mode}), "
            f"{self.images} to validate",
        }

    def check(self) -> None:
        """Check that both sides compute the same."""
        supernet = load_supernet(self.setting.recipe.run, device="cpu", precision="fp32")
        check_same_scores(supernet, self._different(2))
        check_same_training(supernet)
        say("checked: logits, angle, accuracy, flatness and a training step are the same on both sides\n")

    def run(self, steps: int, candidates: int) -> list[Comparison]:
        """Time every job."""
        training = self._training(steps)
        peaks = [[process.submit(peak_memory).result()] for process in (self.ours, self.other)]
        memory = Comparison("peak memory of training", "MiB", *peaks)
        with process_pool(self.setting.threads) as pool:
            start = time.perf_counter()
            self._by_all(pool, measure_rows, self.setting.recipe, METRIC.measurements, [self.mixed])
            say(f"start of {self.setting.threads} workers of genas, not counted: {time.perf_counter() - start:.1f} s\n")
            return [training, memory, self._scoring(pool, candidates), self._evaluation(pool), self._angles()]

    def _take_turns(self, job: str, unit: str, amounts: tuple[int, int], ours: Timed, other: Timed) -> Comparison:
        """Let both sides do their amounts of work in turns, for each round, and convert seconds to rates."""
        seconds = [(ours(number), other(number)) for number in range(self.rounds)]
        columns = zip(amounts, zip(*seconds, strict=True), strict=True)
        return Comparison(job, unit, *([amount / value for value in column] for amount, column in columns))

    def _reference(self, function: Callable[..., float], argument: object) -> float:
        return self.other.submit(function, self.setting, argument).result()

    def _training(self, steps: int) -> Comparison:
        def ours(count: int) -> float:
            return self.ours.submit(train_genas, self.setting, count).result()

        ours(WARM_STEPS)
        self._reference(train_reference, WARM_STEPS)
        images = steps * BATCH_SIZE
        reference = lambda _: self._reference(train_reference, steps)
        return self._take_turns("supernet training", "images/s", (images, images), lambda _: ours(steps), reference)

    def _scoring(self, pool: ProcessPoolExecutor, candidates: int) -> Comparison:
        recipe = self.setting.recipe
        scores = Scores(Context(self.supernet, recipe.scoring, seed=recipe.seed), METRIC, pool, recipe)
        drawn = self._different(self.rounds * candidates)

        def timed(architectures: list[Architecture]) -> float:
            start = time.perf_counter()
            scores(architectures)
            return time.perf_counter() - start

        def batch(number: int) -> list[Architecture]:
            return drawn[number * candidates : (number + 1) * candidates]

        timed([self.mixed])
        self._reference(score_reference, [self.mixed])
        return self._take_turns(
            "scoring by angle+accuracy+flatness",
            "candidates/s",
            (candidates, candidates),
            lambda number: timed(batch(number)),
            lambda number: self._reference(score_reference, batch(number)),
        )

    def _evaluation(self, pool: ProcessPoolExecutor) -> Comparison:
        def ours(_: int) -> float:
            """Seconds in which all workers together evaluate the images of one subnet."""
            return 1 / sum(
                1 / seconds for seconds in self._by_all(pool, evaluate_genas, self.setting.recipe, self.mixed)
            )

        def other(_: int) -> float:
            return self._reference(evaluate_reference, self.mixed)

        ours(0), other(0)
        return self._take_turns("evaluation of a subnet", "images/s", (self.images, self.images), ours, other)

    def _angles(self) -> Comparison:
        rng = generator(0, "angles")
        drawn = [self.space.sample(rng) for _ in range(ANGLES)]
        if isinstance(self.space, NASBench201):
            drawn = list(self.space.architectures())

        def ours(_: int) -> float:
            start = time.perf_counter()
            angle_table(self.supernet.initial, self.supernet.network).angles(drawn)
            return time.perf_counter() - start

        some = drawn[:: ANGLES // REFERENCE_ANGLES][:REFERENCE_ANGLES]
        amounts = len(drawn), len(some)
        return self._take_turns("angles", "1/s", amounts, ours, lambda _: self._reference(angles_reference, some))

    def _by_all(self, pool: ProcessPoolExecutor, function: Callable[..., T], *arguments: object) -> list[T]:
        """Call a function in all workers at once."""
        results: dict[int, T] = {}
        while len(results) < self.setting.threads:  # a worker that starts late misses its call: try again
            futures = [pool.submit(in_a_worker, function, *arguments) for _ in range(self.setting.threads)]
            results = dict(future.result() for future in futures)
        return list(results.values())

    def _different(self, count: int) -> list[Architecture]:
        """Draw architectures with different supernet functions, as genas would score equal ones only once."""
        rng, drawn = generator(0, "architectures"), {self.space.supernet_representative(self.mixed): self.mixed}
        while len(drawn) <= count:
            architecture = self.space.sample(rng)
            drawn.setdefault(self.space.supernet_representative(architecture), architecture)
        return list(drawn.values())[1:]

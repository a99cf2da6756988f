from __future__ import annotations

from collections.abc import Callable

import pytest

from genas.metrics import Combined, Loss, Noise, Term
from genas.search import EvolutionConfig
from genas.supernet import Calibration, LearningRate, PathSampling, TrainingSettings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearningRate(shape="cosin"), "shape must be one of cosine, linear, constant.*Did you mean 'cosine'"),
        (lambda: LearningRate(every="batch"), "every must be one of epoch, step, but got 'batch'"),
        (lambda: TrainingSettings(labels="randm"), "Did you mean 'random'"),
        (lambda: TrainingSettings(decay_scope="none"), "decay_scope must be one of all, weights"),
        (lambda: PathSampling(sharing="per-cell"), "Did you mean 'per_cell'"),
        (lambda: Calibration(mode="exakt"), "Did you mean 'exact'"),
        (lambda: Noise(kind="share"), "Did you mean 'shared'"),
        (lambda: Noise(scope="cell"), "Did you mean 'cells'"),
        (lambda: Combined((Term(Loss()),), join="ranks"), "Did you mean 'rank'"),
        (lambda: EvolutionConfig(mutated_genes="reduce"), "mutated_genes must be"),
    ],
)
def test_a_misspelt_word_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

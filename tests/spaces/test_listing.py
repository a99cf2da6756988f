from __future__ import annotations

import numpy as np
import pytest

from genas.spaces import DARTS, NASBench201
from genas.spaces.listing import all_architectures, positions


def test_positions_and_the_list_of_all_agree() -> None:
    everything = all_architectures(NASBench201())
    assert len(everything) == len(set(everything)) == 15_625
    scores = np.arange(15_625).reshape((5,) * 6)
    np.testing.assert_array_equal(scores[positions(NASBench201(), everything)], np.arange(15_625))
    assert scores[positions(NASBench201(), [])].shape == (0,)


def test_spaces_that_cannot_be_listed_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have every combination of genes and at most 131,072 of them, .* darts"):
        all_architectures(DARTS())

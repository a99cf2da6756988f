"""Published DARTS cells by name."""

from __future__ import annotations

GENOTYPES: dict[str, str] = {
    # Liu et al., DARTS, ICLR 2019: first and second order.
    "DARTS_V1": "4 4 3 4 0 3 4 0 0 4 0 3 0 0 / 1 1 1 0 3 1 0 3 0 2 0 3 0 0",
    "DARTS_V2": "4 4 4 4 0 3 4 0 0 3 0 6 0 0 / 1 1 0 1 3 1 0 3 0 0 1 3 0 0",
    # Xu et al., PC-DARTS, ICLR 2020: searched on CIFAR-10 and on ImageNet.
    "PC_DARTS_CIFAR": "3 4 4 6 0 5 4 0 0 2 6 0 0 0 / 1 5 0 5 5 4 0 0 4 0 4 4 0 0",
    "PC_DARTS_IMAGENET": "4 3 4 3 0 0 4 0 4 0 4 0 0 7 / 4 3 0 1 7 0 4 4 0 5 0 0 4 0",
    # Jeong et al., GeNAS, IJCAI 2023: metric and data set of the search.
    "GENAS_FLATNESS_C10": "3 6 0 4 4 0 6 6 0 0 0 0 4 3 / 5 2 0 6 4 0 3 0 6 0 0 5 0 7",
    "GENAS_ANGLE_FLATNESS_C10": "5 4 4 4 0 4 5 0 0 4 0 0 0 4 / 7 7 2 3 0 4 1 0 0 0 0 0 5 6",
    "GENAS_FLATNESS_C100": "3 5 0 4 4 0 0 4 5 0 4 0 0 7 / 6 3 2 0 5 0 5 0 7 0 1 1 0 0",
    "GENAS_ANGLE_FLATNESS_C100": "3 5 1 4 0 0 4 0 4 0 4 0 0 5 / 6 4 0 7 2 1 3 0 0 0 4 0 0 7",
}
"""Genes of the normal and of the reduction cell. All are architectures of the variants ``darts`` and ``darts7``."""

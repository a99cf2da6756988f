"""Conditions that a caller may want to catch. The rest are ``ValueError``, ``TypeError``, ``KeyError``."""

from __future__ import annotations


class GenasError(Exception):
    """Base class: the request was well-formed, but it cannot be carried out."""


class InfeasibleError(GenasError):
    """No architecture satisfies the constraint."""


class RunError(GenasError):
    """A run folder or one of its files is damaged, in use by another process, or belongs to other settings."""


class MissingInputError(GenasError):
    """A metric needs a trained supernet or images, and the context was given none."""


class TrainingDiverged(GenasError):
    """The loss or a weight became NaN or infinite."""


class TableError(GenasError):
    """A file of accuracies is damaged, incomplete, or not what it should be."""

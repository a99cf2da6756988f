"""Conditions that a caller may want to catch. The rest are ``ValueError``, ``TypeError``, ``KeyError``."""

from __future__ import annotations


class GenasError(Exception):
    """Base class: the request was well-formed, but it cannot be carried out."""


class InfeasibleError(GenasError):
    """No architecture satisfies the constraint."""


class RunError(GenasError):
    """A run folder or one of its files is damaged, in use by another process, or belongs to other settings."""


class TrainingDiverged(GenasError):
    """The loss or a weight became NaN or infinite."""

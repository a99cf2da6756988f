"""Checksum of the files from which a table was imported."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path


def fingerprint(files: Sequence[Path]) -> str:
    """The SHA-256 of one file, as ``sha256sum`` prints it; of several, that of the list of checksums and names.

    Args:
        files: At least one.

    Returns:
        64 hexadecimal digits. Those of several files do not depend on their order or their folder.
    """
    checksums = [_sha256(file) for file in files]
    if len(files) == 1:
        return checksums[0]
    lines = sorted(f"{checksum}  {file.name}\n" for checksum, file in zip(checksums, files, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

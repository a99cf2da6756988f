"""Environment of a computation: command line, versions, source commit, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from genas.version import __version__

_CPU_INFO = Path("/proc/cpuinfo")


def environment() -> dict[str, Any]:
    """The environment of this process, as plain values for ``environment.json``.

    Returns:
        The command line with its directory, versions of Python, genas, torch and numpy, the commit of genas' source
        (null outside its repository), system and processor.
    """
    return {
        "argv": [_as_unicode(word) for word in sys.argv],
        "directory": _as_unicode(str(Path.cwd())),
        "python": platform.python_version(),
        "genas": __version__,
        "commit": source_commit(Path(__file__)),
        "torch": importlib.metadata.version("torch"),
        "numpy": importlib.metadata.version("numpy"),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
    }


def source_commit(file: Path) -> str | None:
    """The commit of the git repository that a source file belongs to.

    Args:
        file: A source file. An untracked one, such as one installed into an environment inside some repository, has no
            commit.

    Returns:
        40 hexadecimal digits, followed by ``-dirty`` if tracked files were changed since, or ``None``.
    """
    git = ["git", "-C", str(file.parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", file.name], check=True, capture_output=True, timeout=10)
        describe = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(describe, check=True, capture_output=True, timeout=10, text=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or not a file of it
        return None


def _as_unicode(text: str) -> str:
    """The text without surrogates, by which Python stands for bytes of file names that are not UTF-8."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _cpu_name() -> str:
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())

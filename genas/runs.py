"""Run folders: settings, environment, log and results of one computation, left intact by a killed process.

::

    NAME/ config.yaml  environment.json  log.jsonl  initial.safetensors  weights.safetensors  state.pt
          scores.sqlite  result.json  figures/
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import yaml

from genas.environment import environment
from genas.errors import RunError
from genas.files import remove_unfinished, to_json, write_json, write_text
from genas.locks import FileLock
from genas.strict_yaml import load_yaml

_CONFIG, _ENVIRONMENT, _LOCK = "config.yaml", "environment.json", ".lock"


@final
class Run:
    """A run folder: made by :meth:`create`, which holds its lock until :meth:`close`, or read by :meth:`open`.

    Attributes:
        path: The folder.
        config: The settings as plain values, read back from ``config.yaml``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Run.create(Path(folder, "first"), {"seed": 0}) as run:
        ...     run.log({"epoch": 1, "loss": 0.7})
        ...     [record["epoch"] for record in run.read_log()]
        [1]
    """

    def __init__(self, path: Path, config: dict[str, Any], lock: FileLock | None) -> None:
        self.path = path
        self.config = config
        self._lock = lock

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], config: Mapping[str, Any], facts: Mapping[str, Any] | None = None
    ) -> Self:
        """Make a run folder, or continue the run in it if its settings are the same.

        Files that a killed process left half-written are removed. A :class:`~genas.errors.RunError` is raised if the
        folder is not a run's, if its run has other settings (the message names them all), or if another process holds
        it.

        Args:
            path: The folder, new or empty or a run's.
            config: All that the results depend on: plain values, dataclasses, paths, mappings and sequences of these.
            facts: Further entries of ``environment.json``, such as the device and the seed. Plain values.

        Returns:
            The run, locked.
        """
        folder, wanted = Path(path), _as_read_back(config)
        _check_place(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        try:
            for place in (folder, folder / "figures"):  # other folders may be runs of other processes
                remove_unfinished(place)
            begun = (folder / _CONFIG).exists() and not _is_bare(folder)
            if begun:
                _check_same(folder, _read_config(folder), wanted)
            else:
                (folder / _ENVIRONMENT).unlink(missing_ok=True)
                write_text(folder / _CONFIG, yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True))
            run = cls(folder, wanted, lock)
            run._record_environment(facts or {})
            run._drop_half_line()
        except BaseException:
            lock.release()
            raise
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Read a run folder, even while another process works in it.

        Args:
            path: The folder.

        Returns:
            The run, read-only.

        Raises:
            RunError: If the folder is not a run's.
        """
        folder = Path(path)
        if not (folder / _CONFIG).is_file():
            raise RunError(
                f"A run folder has a {_CONFIG}, but {folder} has none; give the folder that a genas command wrote to."
            )
        return cls(folder, _read_config(folder), None)

    @property
    def initial(self) -> Path:
        """The network's weights before training."""
        return self.path / "initial.safetensors"

    @property
    def weights(self) -> Path:
        """The trained network's weights."""
        return self.path / "weights.safetensors"

    @property
    def state(self) -> Path:
        """The training state to resume from."""
        return self.path / "state.pt"

    @property
    def scores(self) -> Path:
        """The score store."""
        return self.path / "scores.sqlite"

    @property
    def result(self) -> Path:
        """The results."""
        return self.path / "result.json"

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    @property
    def log_path(self) -> Path:
        """The log that :meth:`log` writes."""
        return self.path / "log.jsonl"

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to the log, with the time (UTC) added; it is on the disk before a checkpoint that follows it.

        Args:
            record: Plain values; ``None`` instead of NaN and infinity, which are refused.
        """
        self._check_writable()
        line = to_json({**record, "time": _now()}) + "\n"
        with self.log_path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def read_log(self) -> list[dict[str, Any]]:
        """Return the records of the log, oldest first; an unfinished last line is left out."""
        return [record for _, record in self._lines()]

    def keep_log(self, keep: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drop records from the log: those that a resumed training will write again.

        Args:
            keep: Whether a record stays.
        """
        self._check_writable()
        if self.log_path.exists():
            write_text(self.log_path, "".join(line + "\n" for line, record in self._lines() if keep(record)))

    def close(self) -> None:
        """Release the lock. The run is read-only from then on."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if not self.log_path.exists():
            return
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.split("\n")[:-1], start=1):  # the last part is empty, or half a line
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RunError(f"{self.log_path}: line {number} is damaged ({error}); delete this line.") from error
            if not isinstance(record, dict):
                raise RunError(f"{self.log_path}: line {number} is damaged ({line!r}); delete this line.")
            yield line, record

    def _drop_half_line(self) -> None:
        if self.log_path.exists():
            content = self.log_path.read_bytes()
            os.truncate(self.log_path, content.rfind(b"\n") + 1)

    def _record_environment(self, facts: Mapping[str, Any]) -> None:
        """Write ``environment.json``; a continued run adds its own environment under ``resumed``."""
        path = self.path / _ENVIRONMENT
        session = {"started": _now(), **environment(), **facts}
        if not path.exists():
            write_json(path, {**session, "resumed": []})
            return
        try:
            first = json.loads(path.read_text(encoding="utf-8"))
            write_json(path, {**first, "resumed": [*first["resumed"], session]})
        except (ValueError, LookupError, TypeError) as error:
            raise RunError(f"{path} is damaged: {error!r}. Delete it; a new one will be written.") from error

    def _check_writable(self) -> None:
        if self._lock is None:
            raise RunError(f"{self.path} is open for reading only; Run.create opens it for writing.")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _check_place(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"A run needs a folder, but {folder} is a file; choose another name.")
    foreign = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.exists() else []
    if foreign and _CONFIG not in foreign:
        raise RunError(
            f"A new run needs an empty folder, but {folder} has {min(foreign)!r} in it; choose another folder."
        )


def _is_bare(folder: Path) -> bool:
    """Whether a run has written no results: a request refused that early does not bind the next one."""
    # A configuration alone may be the user's own.
    return (folder / _ENVIRONMENT).exists() and all(
        entry.name.startswith(".") or entry.name in (_CONFIG, _ENVIRONMENT) for entry in folder.iterdir()
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = load_yaml((folder / _CONFIG).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{folder / _CONFIG} is damaged: {error}. Restore it, or start a new run elsewhere.") from error
    if not isinstance(config, dict):
        raise RunError(
            f"{folder / _CONFIG} must be a mapping, but is {config!r}. Restore it, or start a new run elsewhere."
        )
    return config


def _check_same(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = dict(leaves(old)), dict(leaves(new))
    command, asked = before.get("command"), after.get("command")
    if command != asked:
        if command is None:
            raise RunError(f"{folder / _CONFIG} must be that of a run of genas {asked}, but is not; move it elsewhere.")
        raise RunError(f"{folder} holds a run of genas {command}, not of genas {asked}; choose another folder.")
    differences = [
        f"  {name}: {before.get(name, '(not set)')} in the folder, {after.get(name, '(not set)')} now"
        for name in dict.fromkeys([*before, *after])
        if name not in before or name not in after or before[name] != after[name]
    ]
    if differences:
        lines = "\n".join(differences)
        cure = "Choose another folder (--out, if the command has one), or the same settings to continue this run."
        raise RunError(f"{folder} holds a run with other settings:\n{lines}\n{cure}")


def record_of(config: Path) -> Path | None:
    """The record of the command and machine behind a run's settings.

    Args:
        config: A file.

    Returns:
        The record beside it; ``None`` if the file is not the settings of a run.
    """
    environment = config.with_name(_ENVIRONMENT)
    return environment if config.name == _CONFIG and environment.is_file() else None


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings that are not groups, by their full names such as ``training.epochs``.

    Args:
        config: As in :attr:`Run.config`.
        prefix: Prefix of every name.

    Yields:
        Names and values.
    """
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _as_read_back(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as they are read back from ``config.yaml``: tuples are lists, dataclasses are mappings."""
    plain = {name: _plain(value, name) for name, value in config.items()}
    read_back: dict[str, Any] = yaml.safe_load(yaml.safe_dump(plain, sort_keys=False))
    return read_back


def _plain(value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(entry, f"{name}.{key}") for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry, name) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)  # NumPy's float64 is a float that YAML refuses
    if value is None:
        return None
    raise TypeError(
        f"A setting must be a plain value, but {name} is a {type(value).__name__}; give its name or number."
    )

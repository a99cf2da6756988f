"""A file lock that the system releases when its holder dies, even if killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self, final

from genas.errors import RunError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


_HELD: set[Path] = set()
"""Lock files that this process holds."""


@final
class FileLock:
    """Exclusive hold of a lock file, from construction to :meth:`release`.

    The file is never deleted: two processes could then hold locks on two files of the same name.

    Args:
        path: The lock file, made when missing. It holds the holder's process id.

    Raises:
        RunError: If it is held: by another process, whose id is named, or by this one. Also if the file system has no
            locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(self._descriptor)
        except (BlockingIOError, PermissionError) as error:  # Windows raises the second for the first
            holder = os.read(self._descriptor, 20).decode(errors="replace").strip()
            self._close()
            if self._path in _HELD:  # process ids would not tell: those of two containers may be the same
                raise RunError(
                    f"{path.parent} is in use by this process itself; close what opened it first (a Run is best opened "
                    "by with), or choose another folder."
                ) from error
            raise RunError(
                f"{path.parent} is in use by process {holder}; wait for it to end, or choose another folder."
            ) from error
        except OSError as error:
            self._close()
            raise RunError(
                f"{path} cannot be locked ({error.strerror}): the file system has no locks. Choose a folder on another "
                "one, or mount it with them (such as Lustre with -o flock)."
            ) from error
        _HELD.add(self._path)
        try:
            os.truncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except BaseException:  # such as of a full disk: a holder that goes on without the lock would keep it for ever
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor is not None:
            _HELD.discard(self._path)
            self._close()

    def _close(self) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        # On Windows other processes cannot read locked bytes: lock one after the text.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

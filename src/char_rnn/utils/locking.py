"""One process at a time in a folder: a lock that ends with its process, however that ends.

The lock is the system's, on the open file ``.lock`` in the folder; the file's content, ``PID HOST``, is for messages
alone. The holder removes the file. After a kill it stays, unlocked, and means nothing, nor does a copy of it. Network
file systems may not lock, or lock on one machine only.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

NAME = ".lock"
_ATTEMPTS, _PAUSE = 3, 0.05  # `holder` of another process holds a free lock for a moment
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_BYTE = 1 << 20  # what is locked on Windows, where a locked byte cannot be read

_logger = logging.getLogger("char_rnn")
_held: dict[Path, int] = {}  # by folder: the descriptor


class FolderInUseError(RuntimeError):
    """Another process is at work in the folder; the message names it."""


def acquire(folder: Path) -> None:
    """Lock a folder for this process; nothing if it has it already.

    A file system that cannot lock is a warning, not an error.

    Raises:
        FolderInUseError: another process has it.
        OSError: the folder is not there, or cannot be written.
    """
    key = folder.resolve()
    if key in _held:
        return
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE if attempt else 0)
        descriptor = _open(key / NAME, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno not in _TAKEN:
                _logger.warning("%s: cannot be locked (%s); start nothing else in it", folder, error.strerror)
                os.close(descriptor)
                (key / NAME).unlink(missing_ok=True)
                return
        else:
            if _is_at(descriptor, key / NAME):  # the holder before may have removed it since it was opened
                _held[key] = descriptor
                _sign(descriptor)
                return
        found = _holder_in(descriptor)
        os.close(descriptor)
    raise FolderInUseError(_in_use(folder, found))


def check_is_free(folder: Path) -> None:
    """Make sure, without locking it, that no other process has a folder.

    Raises:
        FolderInUseError: one has.
    """
    if (found := holder(folder)) is not None:
        raise FolderInUseError(_in_use(folder, found))


def release(folder: Path) -> None:
    """Unlock a folder that `acquire` has locked; nothing otherwise."""
    key = folder.resolve()
    if key not in _held:
        return
    descriptor = _held.pop(key)
    if os.name == "nt":  # an open file cannot be removed there
        os.close(descriptor)
        with suppress(OSError):
            (key / NAME).unlink()
    else:
        with suppress(OSError):
            (key / NAME).unlink()
        os.close(descriptor)


def holder(folder: Path) -> str | None:
    """Return in words which other process has a folder; None for none, this one, or where it cannot be seen."""
    with suppress(OSError, RuntimeError):  # a loop of links is a RuntimeError before Python 3.13
        if folder.resolve() in _held:
            return None
        descriptor = _open(folder / NAME, os.O_RDONLY)
        try:
            _lock(descriptor)
        except OSError as error:
            return _holder_in(descriptor) if error.errno in _TAKEN else None
        finally:
            os.close(descriptor)
    return None


@contextmanager
def holding(folder: Path | None) -> Iterator[None]:
    """Lock a folder, if there is one, for a while.

    Raises:
        FolderInUseError, OSError: as `acquire`.
    """
    if folder is None:
        yield
        return
    acquire(folder)
    try:
        yield
    finally:
        release(folder)


@contextmanager
def released_on_error(folder: Path | None) -> Iterator[None]:
    """Release a folder, if there is one, when what is done with it fails."""
    try:
        yield
    except BaseException:
        if folder is not None:
            release(folder)
        raise


def _in_use(folder: Path, found: str) -> str:
    return f"{folder}: {found} is at work in this folder; stop it or wait for its end, or use another"


def _open(path: Path, flags: int) -> int:
    more = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK"))
    descriptor = os.open(path, flags | more, 0o666)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def _lock(descriptor: int) -> None:
    """Lock an open file without waiting."""
    if fcntl := _module("fcntl"):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt := _module("msvcrt"):
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    """Write who holds the lock; without it, on a full disk say, the lock holds all the same."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())


def _holder_in(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    found = re.fullmatch(rb"(\d{1,20}) ([\w.-]{1,255})\n", os.read(descriptor, 300))
    return "another process" if found is None else f"process {found[1].decode()} on {found[2].decode()}"


@atexit.register
def _release_all() -> None:
    for folder in list(_held):
        release(folder)


def _forget() -> None:
    """Leave the locks to the parent of a fork: a loader's worker lives on for seconds after it was killed."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

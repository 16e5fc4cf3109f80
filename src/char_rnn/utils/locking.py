"""Folder locks: one process at a time uses a folder. A lock ends with its process, however that ends.

The operating system locks the open file ``.lock`` in the folder. The content of the file, ``PID HOST``, is for messages
only. The holder removes the file; after a kill it remains without a lock and has no effect. Network file systems may
not support locks, or only on one machine.
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
_ATTEMPTS, _PAUSE = 3, 0.05  # `holder` in another process takes a free lock for a moment
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_BYTE = 1 << 20  # position of the lock on Windows, where a locked byte cannot be read

_logger = logging.getLogger("char_rnn")
_held: dict[Path, int] = {}  # descriptors of the lock files by folder


class FolderInUseError(RuntimeError):
    """Another process uses the folder; the message names it."""


def acquire(folder: Path) -> None:
    """Lock a folder for this process, unless it holds the lock already.

    A file system without locks causes a warning, not an error.

    Raises:
        FolderInUseError: Another process holds the lock.
        OSError: The folder does not exist or cannot be written.
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
                _logger.warning("%s: cannot be locked (%s); do not start another process in it", folder, error.strerror)
                os.close(descriptor)
                (key / NAME).unlink(missing_ok=True)
                return
        else:
            if _is_at(descriptor, key / NAME):  # else the previous holder has removed it meanwhile
                _held[key] = descriptor
                _sign(descriptor)
                return
        found = _holder_in(descriptor)
        os.close(descriptor)
    raise FolderInUseError(_in_use(folder, found))


def check_is_free(folder: Path) -> None:
    """Check, without locking it, that no other process uses a folder.

    Raises:
        FolderInUseError: Another process uses it.
    """
    if (found := holder(folder)) is not None:
        raise FolderInUseError(_in_use(folder, found))


def release(folder: Path) -> None:
    """Unlock a folder if `acquire` has locked it."""
    key = folder.resolve()
    if key not in _held:
        return
    descriptor = _held.pop(key)
    if os.name == "nt":  # which cannot remove an open file
        os.close(descriptor)
        with suppress(OSError):
            (key / NAME).unlink()
    else:
        with suppress(OSError):
            (key / NAME).unlink()
        os.close(descriptor)


def holder(folder: Path) -> str | None:
    """Return the other process that uses a folder in words; None for none, this process, or if it is unknown."""
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
    """Lock a folder, if one is given, during the block.

    Raises:
        FolderInUseError, OSError: As `acquire`.
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
    """Unlock a folder, if one is given, when the block fails."""
    try:
        yield
    except BaseException:
        if folder is not None:
            release(folder)
        raise


def _in_use(folder: Path, found: str) -> str:
    return f"{folder}: {found} is using this folder; stop it, wait until it ends, or use another folder"


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
    """Write the holder into the file; the lock does not depend on it (the disk may be full)."""
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
    """Leave the locks to the parent after a fork: a data loader's worker survives a kill of its parent by seconds."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

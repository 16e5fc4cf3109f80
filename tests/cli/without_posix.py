"""Runs commands of char-rnn where it finds what Windows has, and no more; a stand-in, on any POSIX system.

    python without_posix.py COMMANDS.json      a list of lists of arguments

char-rnn's own modules see `os`, `signal`, `mmap` and `socket` without the names that Windows lacks, none of the modules
of POSIX, no ``/proc`` or ``/sys``. A text file that they write gets ``\\r\\n`` unless they set newline=; it needs an
encoding. A file that is open or mapped can be neither replaced nor removed. Prints a JSON list of [status, output].
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import importlib
import io
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

MODULES = {"fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "readline", "curses"}
NAMES = {
    "os": (
        "chown chroot ctermid fchdir fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid "
        "getpgrp getpriority getrusage getsid getuid initgroups killpg lchown lockf major mkfifo mknod nice openpty "
        "pathconf posix_fadvise posix_fallocate posix_spawn pread preadv pwrite pwritev readv sched_getaffinity "
        "sched_setaffinity sendfile setpgid setpgrp setpriority setsid setuid statvfs sync sysconf tcgetpgrp tcsetpgrp "
        "ttyname uname wait wait3 wait4 waitid writev O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC "
        "WNOHANG WIFEXITED WIFSIGNALED register_at_fork process_cpu_count EX_OK"
    ),
    "signal": (
        "SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTRAP SIGTSTP SIGTTIN "
        "SIGTTOU SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH ITIMER_REAL alarm pause pthread_kill pthread_sigmask setitimer "
        "siginterrupt sigpending sigtimedwait sigwait sigwaitinfo"
    ),
    "mmap": "MADV_DONTNEED MADV_SEQUENTIAL MADV_WILLNEED MAP_ANONYMOUS MAP_PRIVATE MAP_SHARED PROT_READ PROT_WRITE",
    "socket": "AF_UNIX SO_REUSEPORT socketpair_unix fromfd_unix",
}
OUTSIDE = ("/proc", "/sys")
PASS_ON = {"pathlib", "pathlib._local", "pathlib._abc", "contextlib", "gzip", "bz2", "lzma", "zipfile", __name__}
REAL_OPEN = io.open


def main() -> None:
    """Take the names away, and run the commands."""
    from char_rnn.cli import main as char_rnn

    commands, outcomes = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), []
    for arguments in commands:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")) as out:
            try:
                char_rnn(arguments)
            except SystemExit as stop:
                status = stop.code
            out.flush()
            outcomes.append([status, out.buffer.getvalue().decode()])
    print(json.dumps(outcomes))


def caller() -> str:
    """Return the module that asks for a file, behind those of the standard library that pass it on."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in PASS_ON:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")) if frame is not None else ""


def is_ours() -> bool:
    """Whether char-rnn asks."""
    return caller().partition(".")[0] == "char_rnn"


def without(name: str) -> types.ModuleType:
    """Return a copy of a module as Windows has it."""
    module = __import__(name)
    copy = types.ModuleType(name)
    copy.__dict__.update({key: value for key, value in vars(module).items() if key not in NAMES[name].split()})
    if name == "os":
        copy.__dict__.update(name="nt", linesep="\r\n")
    return copy


def msvcrt() -> types.ModuleType:
    """Return the locks of Windows, on those of POSIX."""
    module = types.ModuleType("msvcrt")

    def locking(descriptor: int, mode: int, size: int) -> None:
        try:
            fcntl.flock(descriptor, {0: fcntl.LOCK_UN}.get(mode, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise PermissionError(error.errno, "Permission denied") from None

    module.__dict__.update(locking=locking, LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2, LK_RLCK=3, LK_NBRLCK=4)
    return module


def hide_modules() -> None:
    """Give char-rnn's modules the copies, and none of the modules that Windows lacks."""
    real, copies = builtins.__import__, {name: without(name) for name in NAMES}
    copies["msvcrt"] = msvcrt()

    def found(name: str) -> types.ModuleType | None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return copies.get(name)

    def of_windows(name: str, space: Any = None, local: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level == 0 and space and str(space.get("__name__")).partition(".")[0] == "char_rnn":
            return found(name) or real(name, space, local, fromlist, level)
        return real(name, space, local, fromlist, level)

    builtins.__import__ = of_windows
    real_import = importlib.import_module
    importlib.import_module = lambda name, package=None: (is_ours() and found(name)) or real_import(name, package)


def hide_files() -> None:
    """Let char-rnn's modules see no /proc, and write text as Windows does."""
    real_stat = os.stat

    def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
               newline: Any = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
        if is_ours():
            check_place(file)
            if "b" not in mode:
                assert encoding is not None, f"{file}: opened as text without an encoding by {caller()}"
                newline = "\r\n" if newline is None and mode.strip("rt") else newline
        return REAL_OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)

    def stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if is_ours():
            check_place(path)
        return real_stat(path, *arguments, **options)

    builtins.open = io.open = opened
    os.stat = stat


def check_place(file: Any) -> None:
    """Raise what Windows would for a file of Linux alone."""
    if not isinstance(file, int) and os.fspath(file).startswith(OUTSIDE):
        raise FileNotFoundError(2, "No such file or directory", str(file))


def hold_open_files() -> None:
    """Refuse to replace or to remove a file that this process has open or mapped."""

    def checked(real: Any, place: int) -> Any:
        def call(*paths: Any, **options: Any) -> None:
            target = os.path.realpath(paths[place])
            if is_ours() and target in open_files():
                raise PermissionError(
                    13, "The process cannot access the file because it is being used", str(paths[place])
                )
            real(*paths, **options)

        return call

    os.replace = checked(os.replace, 1)
    os.rename = checked(os.rename, 0)
    os.unlink = os.remove = checked(os.unlink, 0)


def open_files() -> set[str]:
    """Return the files that this process has open or mapped, where Linux tells."""
    if not Path("/proc/self/fd").is_dir():
        return set()
    with REAL_OPEN("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        found = {line.split(maxsplit=5)[5].rstrip("\n") for line in maps if "/" in line}
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(link.readlink()))
    return found


if __name__ == "__main__":
    hide_modules()
    hide_files()
    hold_open_files()
    main()

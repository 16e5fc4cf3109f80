"""Models on the Hugging Face Hub, through the package huggingface_hub, which is imported when it is needed.

The address of a model is ``hf://USER/NAME``, with ``@REVISION`` (a branch, a tag or a commit) after it if it is not the
latest, and ``/FILE`` if the file is not `MODEL`. These are the Hub's own URIs.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from char_rnn._version import __version__
from char_rnn.utils.files import TextForPathError, replacing

Progress = Callable[[str, int, int | None], None]
"""Called with the name of the stage, the bytes done, and the bytes in all (None if unknown)."""

MODEL = "model.safetensors"
"""Name of the model file in a repository, and in a folder of ``save_pretrained``."""
INSTALL = 'pip install "char-rnn-pytorch[hub]"'
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_ADDRESS = re.compile(r"hf:/+([\w.-]+/[\w.-]+)(?:@(refs/(?:pr|convert)/[^/]+|[^/]+))?(?:/(.+))?")
_OF_THE_NETWORK = ("httpx", "httpx2", "httpcore", "httpcore2")  # packages of the errors


class HubError(OSError):
    """A failed request to the Hub; the message says why, and what to do."""


class Address(NamedTuple):
    """A file on the Hub.

    Attributes:
        repository: USER/NAME.
        revision: A branch, a tag or a commit; None for the latest commit.
        file: Path in the repository.
    """

    repository: str
    revision: str | None = None
    file: str = MODEL

    @classmethod
    def parse(cls, text: str | Path) -> Address:
        """Return the address that a text is.

        Raises:
            TextForPathError: It is not one.
        """
        found = _ADDRESS.fullmatch(Path(text).as_posix()) or _ADDRESS.fullmatch(f"hf:/{text}")
        if found is None:
            raise TextForPathError(f"{text}: not a model on the Hub; write hf://USER/NAME, or hf://USER/NAME@REVISION")
        return cls(found[1], found[2] and unquote(found[2]), found[3] or MODEL)

    @property
    def name(self) -> str:
        """The name of the repository without its owner."""
        return self.repository.partition("/")[2]

    def __str__(self) -> str:
        revision = f"@{quote(self.revision, safe='/' if self.revision[:5] == 'refs/' else '')}" if self.revision else ""
        return f"hf://{self.repository}{revision}" + (f"/{self.file}" if self.file != MODEL else "")


def is_address(text: str | Path) -> bool:
    """Return whether a text means a model on the Hub. In a `Path`, the scheme has lost a slash."""
    return Path(text).as_posix().startswith("hf:/")


def is_repository(text: str | Path) -> bool:
    """Return whether a text is an address, or USER/NAME and not a path of this machine."""
    return is_address(text) or (re.fullmatch(r"[\w.-]+/[\w.-]+", str(text)) is not None and not Path(text).exists())


def check_installed() -> None:
    """Raise `HubError` if huggingface_hub is not installed."""
    if find_spec("huggingface_hub") is None:
        raise HubError(f"models on the Hub need huggingface_hub, which is not installed; run: {INSTALL}")


def fetch(address: Address, most: int, progress: Progress | None = None, **options: Any) -> Path:
    """Return a file of the Hub in the cache of huggingface_hub, downloaded if it is not there or has changed.

    If the Hub cannot be reached, the cached file is returned. The size and the hash are those that the Hub states.

    Args:
        address: The file.
        most: Largest size to download, in bytes.
        progress: Progress of the download.
        **options: ``token``, ``cache_dir``, ``force_download`` and ``local_files_only`` of ``hf_hub_download``.

    Raises:
        FileNotFoundError: There is no such repository, revision or file.
        HubError: The Hub refuses it or cannot be reached, or the file is too large or damaged.
    """
    check_installed()
    import huggingface_hub as hub

    sent: dict[str, Any] = {"library_name": "char-rnn", "library_version": __version__}
    wanted: dict[str, Any] = {"revision": address.revision, **sent, **options}
    with explained(address):
        url = hub.hf_hub_url(address.repository, address.file, revision=address.revision)
        stated = None
        try:
            if not options.get("local_files_only"):
                stated = hub.get_hf_file_metadata(url, token=options.get("token"), **sent)
        except Exception as error:
            if not _is_unreachable(error):
                raise
            wanted |= {"local_files_only": True, "force_download": False}
        if stated is not None:
            if (stated.size or 0) > most:
                raise HubError(f"{address}: has {stated.size:,} bytes, more than {most:,}, the limit for such a file")
            wanted["revision"] = stated.commit_hash or address.revision  # a later commit may have another file
        if progress is not None:
            wanted["tqdm_class"] = _bar(progress)
        path = Path(hub.hf_hub_download(address.repository, address.file, **wanted))
        if stated is not None:
            _check_hash(path, stated.etag or "", address)
            _record_commit(path, stated.commit_hash, address)
    return path


def check_login(address: Address) -> None:
    """Raise `HubError` if huggingface_hub is not installed, or has no token."""
    check_installed()
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"{address}: pushing a model needs an account of the Hub; {LOG_IN}")


def upload(
    folder: Path,
    address: Address,
    *,
    private: bool | None = None,
    message: str | None = None,
    show_progress: bool = True,
    token: str | None = None,
) -> str:
    """Commit the files of a folder to a repository, and return its address in a browser.

    Args:
        folder: The folder.
        address: The repository, which is made if there is none; without USER, it is your own.
        private: Whether a new repository is private; None for the default of its owner.
        message: Message of the commit.
        show_progress: Whether huggingface_hub shows its progress bars.
        token: Token of an account (default: that of the login).

    Raises:
        HubError: The Hub refuses it or cannot be reached; or the repository is public, and `private` is true.
        ValueError: The Hub does not accept the metadata of the card.
    """
    check_installed()
    import huggingface_hub as hub

    api = hub.HfApi(token=token, library_name="char-rnn", library_version=__version__)
    with explained(address), nullcontext() if show_progress else _no_bars():
        repository = api.create_repo(address.repository, private=private, exist_ok=True).repo_id
        if private and not api.model_info(repository).private:
            raise HubError(f"{address}: exists already and is public; make it private in its settings first")
        message = message or f"Push a model with char-rnn {__version__}"
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    return f"{hub.constants.ENDPOINT}/{repository}"


@contextmanager
def _no_bars() -> Iterator[None]:
    utils: Any = import_module("huggingface_hub.utils")
    if utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def _check_hash(path: Path, etag: str, address: Address) -> None:
    """Compare a file with its entity tag, a SHA-256 (of a large file) or a Git object's SHA-1; the Hub uses no others.

    huggingface_hub compares sizes only.

    Raises:
        HubError: It differs; it has been removed from the cache.
    """
    if len(etag) not in (40, 64):
        return
    digest = hashlib.sha256() if len(etag) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != etag:
        for each in (path.resolve(), path):
            with suppress(OSError):
                each.unlink()
        raise HubError(f"{address}: the downloaded file is damaged (wrong hash) and has been removed; try again")


def _record_commit(path: Path, commit: str | None, address: Address) -> None:
    """Record the commit of a branch or tag in the cache, for when the Hub cannot be reached.

    ``hf_hub_download`` does so for the revision that it is asked for; here, this is the commit.
    """
    revision = address.revision or "main"
    reference = path.parents[address.file.count("/") + 2] / "refs" / revision
    with suppress(OSError):  # a cache that is read only
        if commit is None or commit == revision or (reference.is_file() and reference.read_text() == commit):
            return
        reference.parent.mkdir(parents=True, exist_ok=True)
        with replacing(reference) as temporary:
            temporary.write_text(commit)


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Turn an error of huggingface_hub into one line with advice, and silence the library's warnings."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else None  # of an error that names the file alone
        if (known := _known(cause or error, address)) is None:
            raise
        raise known from None
    finally:
        logger.setLevel(level)


def _known(error: BaseException, address: Address) -> Exception | None:
    """Return the error to raise in place of one of huggingface_hub; None for another error."""
    from huggingface_hub import constants, errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    server, name = constants.ENDPOINT, address.repository
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{address}: access is restricted; accept the terms at {server}/{name}, then {LOG_IN}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return FileNotFoundError(f"{address}: no such model at {server}; check the name, or if it is private, {LOG_IN}")
    if isinstance(error, errors.RevisionNotFoundError):
        return FileNotFoundError(f"{address}: no branch, tag or commit {address.revision} at {server}/{name}")
    if isinstance(error, errors.LocalEntryNotFoundError):
        why = f"{server} cannot be reached; check the network"
        if constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set; unset it to download the model"
        return HubError(f"{address}: not in the cache, and {why}")
    if isinstance(error, errors.EntryNotFoundError):
        return FileNotFoundError(f"{address}: no file {address.file}; see its files at {server}/{name}/tree/main")
    if isinstance(error, errors.HFValidationError):
        return ValueError(f"{address}: not a name of the Hub; write USER/NAME, in letters, digits, -, _ and .")
    told = getattr(error, "server_message", None) or error
    if status in (401, 403):
        told = f"{server} does not permit this ({told})"
        return HubError(f"{address}: {told}; {LOG_IN}, with a token that may do it")
    if status is not None:
        return HubError(f"{address}: {server} answered {status} ({told})")
    if _is_unreachable(error):
        return HubError(f"{address}: {server} cannot be reached ({error}); check the network, and try again")
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return HubError(f"{address}: the download was cut off; try again")
    return None


def _is_unreachable(error: BaseException) -> bool:
    """Return whether an error means that the Hub cannot be reached, or is not allowed to be, or does not work."""
    if isinstance(error, ConnectionError):
        return True
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return status >= 500 or (not status and type(error).__module__.partition(".")[0] in _OF_THE_NETWORK)


def _bar(progress: Progress) -> type:
    """Return a class of progress bars for huggingface_hub that reports to a function instead of drawing."""
    tqdm: Any = import_module("huggingface_hub.utils").tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "file": io.StringIO(), "disable": False})

        def display(self, *_arguments: Any, **_options: Any) -> None:
            if "downloading bytes" not in self.desc:  # a second bar, of the compressed bytes
                progress("downloading", self.n, self.total)

    return Bar

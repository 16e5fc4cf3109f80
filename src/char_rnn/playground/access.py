"""Access to the server: an API key, origins of other sites, and more host names.

An origin is a scheme, a host and perhaps a port, as a browser sends it: ``https://chat.example.org``.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}  # browsers leave these out of an origin
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


@dataclass(frozen=True)
class Access:
    """The requests that the server accepts besides those of its own page.

    Attributes:
        key: API key that requests must send; ``None`` = none.
        origins: Origins of pages that may send requests, and show the page in a frame.
        hosts: More names that requests may call the server by.

    Raises:
        ValueError: A value is invalid; the message begins with the name of its option.
    """

    key: str | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.key is not None and not re.fullmatch("[!-~]+", self.key):
            raise ValueError("api-key: must be printable ASCII characters without spaces, at least one")
        object.__setattr__(self, "origins", tuple(map(_origin, self.origins)))
        object.__setattr__(self, "hosts", tuple(map(_host, self.hosts)))

    def opens(self, authorization: str) -> bool:
        """Whether a header ``Authorization`` has the key, in a time that does not depend on the characters given."""
        if self.key is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return hmac.compare_digest(given.strip().encode(), self.key.encode()) and scheme.lower() == "bearer"


def split(address: str) -> SplitResult | None:
    """Split an address into its parts; ``None`` if it is invalid."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return None
    return parts


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _origin(given: str) -> str:
    parts = split(given.lower())
    made = f"{parts.scheme}://{parts.netloc}" if parts else ""
    host = (parts and parts.hostname) or ""
    is_host = _HOST.fullmatch(host) or is_address(host)
    if parts is None or given.lower() != made or not parts.scheme or "@" in parts.netloc or not is_host:
        rule = "must be a scheme and one host, such as https://chat.example.org, without a / at the end"
        raise ValueError(f"allow-origin {given!r}: {rule}")
    return made.removesuffix(f":{_PORTS.get(parts.scheme)}")


def _host(given: str) -> str:
    if not (_HOST.fullmatch(given.lower()) or is_address(given)):
        raise ValueError(f"allow-host {given!r}: must be a name without scheme and port, such as host.docker.internal")
    return given.lower()

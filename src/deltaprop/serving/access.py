"""Who may send requests: a bearer token, and the host that browsers were told."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any

from deltaprop.serving.problems import MISDIRECTED, UNAUTHORIZED, Refused

OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})


class Access:
    """What a request must show.

    Parameters
    ----------
    token : str or None
        With a token, every request but those of health checks must have the header
        ``Authorization: Bearer TOKEN``.
    host : str
        The address that the server listens on. If it is that of this machine only and there is no
        token, the header ``Host`` must name this machine: otherwise a page in a browser could send
        requests after its name server has redirected its own name here (DNS rebinding).
    """

    def __init__(self, token: str | None, host: str) -> None:
        self._token = None if token is None else token.encode()
        self._local = token is None and is_loopback(host)

    @property
    def needs_token(self) -> bool:
        return self._token is not None

    def check(self, path: str, headers: Any) -> None:
        """Raise Refused if the request may not be answered."""
        if self._local and not is_loopback(_host_of(headers.get("host", ""))):
            raise Refused(
                MISDIRECTED,
                "without a token, requests must name this machine, such as 127.0.0.1, in the "
                "header Host.",
            )
        if self._token is None or path in OPEN_PATHS:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        if scheme.lower() != "bearer" or not same:
            raise Refused(
                UNAUTHORIZED,
                "the header 'Authorization: Bearer TOKEN' is missing or has another token.",
                {"www-authenticate": "Bearer"},
            )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(header: str) -> str:
    """The host in a header such as ``127.0.0.1:8000`` or ``[::1]:8000``."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header

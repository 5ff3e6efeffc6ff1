"""``dp.serve``: a model on a port."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from deltaprop.errors import InputError
from deltaprop.serving.access import Access, is_loopback
from deltaprop.serving.limits import Limits

if TYPE_CHECKING:
    from starlette.applications import Starlette

BACKLOG = 2048  # connections that wait to be accepted
NEEDS = "Serving needs further packages: pip install 'deltaprop[serve]'."


def application(
    model: str,
    *,
    name: str | None = None,
    token: str | None = None,
    host: str = "127.0.0.1",
    limits: Limits | None = None,
    reload_seconds: float = 1.0,
) -> Starlette:
    """The ASGI application of :func:`serve`, to be run by any server or mounted in another one.

    An application that mounts it must run its lifespan, if new model files are to be loaded.

    Parameters
    ----------
    model, name, token, limits, reload_seconds
        As for :func:`serve`.
    host : str, default="127.0.0.1"
        The address that the server listens on. On that of this machine only, requests without a
        token must name this machine.

    Returns
    -------
    starlette.applications.Starlette

    Raises
    ------
    ModelFileError
        If the file cannot be loaded, or contains another kind of model.
    InputError
        If Starlette is not installed.

    Examples
    --------
    >>> import deltaprop as dp, tempfile, os
    >>> table = dp.tables.read_table("data/penguins.csv")
    >>> X, y = table.drop(columns="species"), table["species"]
    >>> path = os.path.join(tempfile.mkdtemp(), "penguins.dp")
    >>> dp.save(dp.TabularClassifier(cv=1, max_iter=2, random_state=0).fit(X, y), path)
    >>> from deltaprop.serving import application
    >>> app = application(path, name="penguins")
    >>> [route.path for route in app.routes][:2]
    ['/predict', '/v2']
    """
    try:
        from deltaprop.serving.app import Server
    except ModuleNotFoundError as error:
        raise InputError(NEEDS) from error
    from deltaprop.serving.metrics import Metrics
    from deltaprop.serving.reloading import Current

    metrics = Metrics()
    current = Current(model, name, metrics, report)
    access = Access(token, host)
    return Server(current, limits or Limits(), access, metrics, reload_seconds).application()


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: str | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    reload_seconds: float = 1.0,
    **options: Any,
) -> None:
    """Answer requests for predictions until the process gets SIGINT or SIGTERM.

    Parameters
    ----------
    model : str
        The path or URL of a file with an estimator, or a Pipeline that ends in one. When a file is
        replaced, the new one is loaded. If it is damaged, the previous model stays.
    host, port : str and int, default="127.0.0.1" and 8000
        Where to listen. The default host can only be reached from this machine; "0.0.0.0" can be
        reached by others.
    name : str, optional
        The name of the model in paths; by default, that of the file without its ending.
    token : str, optional
        With a token, requests must have the header ``Authorization: Bearer TOKEN``.
    limits : Limits, optional
        How much is accepted.
    reload_seconds : float, default=1.0
        Time between looks at the model file.
    **options
        Further settings of uvicorn, such as ``ssl_certfile`` and ``ssl_keyfile``.

    Raises
    ------
    ModelFileError
        If the file cannot be loaded, or contains another kind of model.
    InputError
        If Starlette or uvicorn is not installed.
    """
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise InputError(NEEDS) from error
    if token == "":
        raise InputError("The token is empty.")
    app = application(
        model, name=name, token=token, host=host, limits=limits, reload_seconds=reload_seconds
    )
    if token is None and not is_loopback(host):
        report(f"Anyone who can reach {host} can send requests: there is no token.")
    settings: dict[str, Any] = {
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
    } | options
    listening = _listening(host, port)
    address = _address(listening, secure="ssl_certfile" in settings)
    report(f"Serving {model} on {address} until Ctrl-C; {address}/docs says how to use it.")
    config = uvicorn.Config(app, timeout_graceful_shutdown=30, **settings)
    uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # asyncio sends small packets at once only on sockets that name the protocol.
        listening = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        return listening
    except (OSError, OverflowError) as error:
        raise InputError(f"Cannot listen on {host}:{port}: {error}") from error


def _address(listening: socket.socket, secure: bool) -> str:
    host, port = listening.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    return f"http{'s' if secure else ''}://{host}:{port}"


def report(message: str) -> None:
    """Print a message to standard error."""
    print(message, file=sys.stderr, flush=True)

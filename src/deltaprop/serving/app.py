"""The ASGI application: which path is answered by which function."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Match, Route

from deltaprop._version import __version__
from deltaprop.errors import InputError
from deltaprop.serving import openapi, page, v2
from deltaprop.serving.access import Access
from deltaprop.serving.arrow_bodies import ARROW, arrow_stream, read_arrow
from deltaprop.serving.batching import Batcher
from deltaprop.serving.json_bodies import JSON, read_json
from deltaprop.serving.limits import Limits
from deltaprop.serving.metrics import CONTENT_TYPE, Metrics
from deltaprop.serving.problems import (
    INVALID,
    NOT_FOUND,
    TIMEOUT,
    TOO_LARGE,
    WRONG_MEDIA,
    Refused,
    invalid,
)
from deltaprop.serving.reloading import Current
from deltaprop.serving.served import Asked, Columns, Given, Served

LARGE = 2**16  # bytes: bodies of more are read by another thread
CLOSED, FAILED = 499, 500  # the client has gone; a bug
Answer = Callable[[Request], Awaitable[Response]]


class Server:
    """Answers the requests for a model.

    Parameters
    ----------
    current : Current
        The model.
    limits : Limits
    access : Access
    metrics : Metrics
    reload_seconds : float
        Time between looks at the model file.
    """

    def __init__(
        self, current: Current, limits: Limits, access: Access, metrics: Metrics,
        reload_seconds: float,
    ) -> None:  # fmt: skip
        self._current, self._limits, self._access = current, limits, access
        self._metrics, self._reload_seconds = metrics, reload_seconds

    @cached_property
    def _batcher(self) -> Batcher:
        """Made by the first request: an application that mounts this one may omit its lifespan."""
        return Batcher(self._limits.batch, self._limits.waiting, self._metrics.batch)

    def application(self) -> Starlette:
        """The ASGI application."""
        model = "/v2/models/{name}"
        routes = [
            self._route("/predict", self._predict, "POST"),
            self._route("/v2", self._about),
            self._route("/v2/health/live", self._live),
            self._route("/v2/health/ready", self._ready),
            self._route("/metrics", self._show_metrics),
            self._route("/openapi.json", self._openapi),
            self._route("/docs", self._docs),
        ]
        for path in (model, f"{model}/versions/{{version}}"):
            routes += [
                self._route(path, self._model),
                self._route(f"{path}/ready", self._model_ready),
                self._route(f"{path}/infer", self._infer, "POST"),
            ]
        return Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: self._not_found},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._current.watch(self._reload_seconds))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.to_thread(self._batcher.close)
            del self._batcher

    # ------------------------------------------------------------ every request

    def _route(self, path: str, answer: Answer, method: str = "GET") -> Route:
        async def measured(request: Request) -> Response:
            began = time.perf_counter()
            status = FAILED
            try:
                response = await self._answered(request, answer)
                status = response.status_code
                return response
            finally:
                self._count(path, request.method, status)
                self._metrics.seconds.observe(time.perf_counter() - began, path)

        return Route(path, measured, methods=[method])

    async def _answered(self, request: Request, answer: Answer) -> Response:
        try:
            self._access.check(request.url.path, request.headers)
            return await answer(request)
        except Refused as refused:
            return _error(refused.status, refused.message, refused.headers)
        except InputError as error:  # what the model itself finds in the values
            return _error(INVALID, str(error))
        except ClientDisconnect:
            return Response(status_code=CLOSED)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        self._count("other", request.method, error.status_code)
        if error.status_code == NOT_FOUND:
            return _error(NOT_FOUND, f"there is no path {request.url.path!r}; /docs lists them.")
        allowed = [
            method
            for route in request.app.routes
            if route.matches(request.scope)[0] is Match.PARTIAL
            for method in route.methods
        ]
        headers = {"allow": ", ".join(sorted(allowed))}
        return _error(error.status_code, f"{request.method} is not possible here.", headers)

    def _count(self, path: str, method: str, status: int) -> None:
        known = method if method in ("GET", "HEAD", "POST") else "other"
        self._metrics.requests.add(1, path, known, str(status))

    # ------------------------------------------------------------ predictions

    async def _predict(self, request: Request) -> Response:
        served = self._current.served
        asked = _asked(served, request.query_params)
        media = _media(request)
        if media not in (JSON, ARROW):
            raise Refused(
                WRONG_MEDIA, f"the content type must be {JSON} or {ARROW}; got {media!r}."
            )
        body = await self._body(request)
        reader, most = read_json if media == JSON else read_arrow, self._limits.rows
        given = await _off_loop(body, lambda: reader(served, body, most))
        predicted = await self._predicted(served, given, asked)
        accepted = request.headers.get("accept", "")
        if ARROW in accepted or (media == ARROW and JSON not in accepted):
            return Response(arrow_stream(predicted), media_type=ARROW)
        return _json(_answer_of(predicted, given.by_rows, served.version))

    async def _infer(self, request: Request) -> Response:
        served = self._named(request)
        media = _media(request)
        if media != JSON:
            raise Refused(WRONG_MEDIA, f"the content type must be {JSON}; got {media!r}.")
        body = await self._body(request)
        most = self._limits.rows
        given, asked, sent = await _off_loop(body, lambda: v2.read_v2(served, body, most))
        predicted = await self._predicted(served, given, asked)
        return _json(v2.response(served, predicted, sent))

    async def _predicted(self, served: Served, given: Given, asked: Asked) -> Columns:
        return await self._batcher.predict(served, given, asked)

    async def _body(self, request: Request) -> bytes:
        """The body; Refused if it is too large or does not arrive in time."""
        most = self._limits.body
        too_large = Refused(TOO_LARGE, f"the body may have at most {most} bytes.")
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise too_large
        except TimeoutError as error:
            seconds = f"{self._limits.seconds:g}"
            raise Refused(TIMEOUT, f"the body must arrive within {seconds} seconds.") from error
        return bytes(body)

    # ------------------------------------------------------------ what is served

    def _named(self, request: Request) -> Served:
        """The model that the path names."""
        served = self._current.served
        name = request.path_params["name"]
        version = request.path_params.get("version", served.version)
        if (name, version) != (served.name, served.version):
            raise Refused(
                NOT_FOUND,
                f"there is no model {name!r} of version {version!r}; there is {served.name!r} of "
                f"version {served.version!r}.",
            )
        return served

    async def _about(self, request: Request) -> Response:
        return _json({"name": "deltaprop", "version": __version__, "extensions": []})

    async def _live(self, request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, request: Request) -> Response:
        return _json({"ready": True})

    async def _model(self, request: Request) -> Response:
        return _json(v2.metadata(self._named(request)))

    async def _model_ready(self, request: Request) -> Response:
        return _json({"name": self._named(request).name, "ready": True})

    async def _show_metrics(self, request: Request) -> Response:
        self._metrics.waiting.set(self._batcher.waiting)
        return PlainTextResponse(self._metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def _openapi(self, request: Request) -> Response:
        described = openapi.openapi(self._current.served, self._limits, self._access.needs_token)
        return _json(described)

    async def _docs(self, request: Request) -> Response:
        text = page.docs(self._current.served, str(request.base_url), self._access.needs_token)
        return HTMLResponse(text, headers={"content-security-policy": page.POLICY})


def _asked(served: Served, query: Mapping[str, str]) -> Asked:
    """What the query of an address asks for."""
    unknown = sorted(set(query) - {"proba", "interval"})
    if unknown:
        raise invalid(f"there is no parameter {unknown[0]!r}; there are proba and interval.")
    proba = query.get("proba", "false")
    if proba not in ("true", "false"):
        raise invalid(f"proba must be true or false; got {proba!r}.")
    interval = query.get("interval")
    try:
        share = None if interval is None else float(interval)
    except ValueError:
        share = -1.0
    if share is not None and not 0 < share < 1:
        raise invalid(f"interval must lie between 0 and 1; got {interval!r}.")
    asked = Asked(proba == "true", share)
    served.check(asked)
    return asked


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _off_loop(body: bytes, read: Callable[[], Any]) -> Any:
    """Read a large body in another thread, so that other requests go on."""
    return await run_in_threadpool(read) if len(body) > LARGE else read()


def _answer_of(predicted: Columns, by_rows: bool, version: str) -> dict[str, Any]:
    columns = {name: _plain(values) for name, values in predicted.items()}
    answer: Any = columns
    if by_rows:
        rows = zip(*columns.values(), strict=True)
        answer = [dict(zip(columns, row, strict=True)) for row in rows]
    return {"predictions": answer, "model_version": version}


def _plain(values: np.ndarray) -> list[Any]:
    """Values as JSON has them: null for numbers that are not finite, such as ends of intervals."""
    found: list[Any] = values.tolist()
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return [x if np.isfinite(x) else None for x in found]
    return found


def _json(value: Any) -> Response:
    return Response(json.dumps(value, default=_plain, allow_nan=False), media_type=JSON)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps({"error": message})
    return Response(text, status, dict(headers or {}), media_type=JSON)

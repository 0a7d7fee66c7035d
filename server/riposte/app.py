"""Start-up and shut-down on one page: models, sessions, routes. The only file that names concrete parts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from aiohttp import web

from riposte.backends.registry import load_backend
from riposte.config import Config, Profile, is_loopback, load_profile, part_folder
from riposte.endpoints import admin, legacy, middleware, sockets, stored_sessions, ws
from riposte.endpoints.allowance import ALLOWANCE, Allowance
from riposte.endpoints.keys import CONFIG, METRICS, SESSIONS, STATE, ServerState
from riposte.errors import ConfigError, ModelError
from riposte.history import History
from riposte.history_db import HistoryUnusable
from riposte.interfaces import Backend, Models
from riposte.metrics import Metrics
from riposte.recorder import FileRecorder
from riposte.sessions import SessionTable
from riposte.timed import timed
from riposte.tls import PemFile, Tls

log = logging.getLogger(__name__)
T = TypeVar("T")

# For a request in progress when the server ends, and once more when it has been cancelled.
FINISH_S = 2.0
HTTP_IDLE_S = 75.0  # for a connection without a request, and for a request's headers
_STOPS = (signal.SIGTERM, signal.SIGINT)


def open_backend(kind: str, config: Config, profile: Profile) -> Backend:
    """Load one part of a profile. Blocks; raises ModelError or ConfigError."""
    part = profile.parts()[kind]
    folder = part_folder(config, profile, part)
    arguments: tuple[Any, ...] = () if folder is None else (folder,)
    backend = load_backend(kind, part.backend)
    try:
        return cast(Backend, backend(*arguments, **part.options))
    except TypeError as exc:
        raise ConfigError(f"profile {profile.name}, part {kind}: {exc}") from exc


@asynccontextmanager
async def open_models(
    config: Config, profile: Profile, kinds: Collection[str] | None = None
) -> AsyncIterator[dict[str, Backend]]:
    """Load these parts, None: all, off the loop, warm them up, and close them at the end.

    Raises ModelError when they are not ready in time. Cancelling leaves a part that is being loaded to its
    thread, which does not keep the process.
    """
    async with AsyncExitStack() as stack:
        loaded: dict[str, Backend] = {}
        limit_s = config.server.start_deadline_s
        try:
            async with asyncio.timeout(limit_s):
                for kind in profile.parts() if kinds is None else kinds:
                    backend = await _in_thread(partial(open_backend, kind, config, profile))
                    stack.push_async_callback(backend.aclose)
                    loaded[kind] = backend
                await asyncio.gather(*(backend.warm_up() for backend in loaded.values()))
        except TimeoutError as exc:
            raise ModelError(
                f"the models of profile {profile.name} are not ready after {limit_s:g} s; "
                "run `riposte check`, or raise server.start_deadline_s"
            ) from exc
        yield loaded


def build_app(
    config: Config, metrics: Metrics, state: ServerState, sessions: SessionTable
) -> web.Application:
    """Make the application; it serves turns once `sessions` has models."""
    app = web.Application(
        middlewares=middleware.middlewares(config), client_max_size=config.limits.message_bytes
    )
    app[ALLOWANCE] = Allowance(config.limits.requests_per_minute)
    app[CONFIG], app[METRICS], app[STATE], app[SESSIONS] = config, metrics, state, sessions
    sockets.add_shutdown(app)
    ws.add_routes(app)
    legacy.add_routes(app)
    admin.add_routes(app)
    stored_sessions.add_routes(app)
    return app


def open_tls(config: Config, sources: Mapping[str, str] | None = None) -> Tls | None:
    """Load the certificate and its key; None where none is configured. Raises ConfigError."""
    server, known = config.server, sources or {}
    if server.tls_cert is None or server.tls_key is None:
        return None
    cert, key = (
        PemFile(setting, Path(path).expanduser(), known.get(setting, "the configuration"))
        for setting, path in (("server.tls_cert", server.tls_cert), ("server.tls_key", server.tls_key))
    )
    return Tls(cert, key)


@asynccontextmanager
async def running(
    config: Config,
    profile: Profile | None = None,
    *,
    tls: Tls | None = None,
    hurry: asyncio.Event | None = None,
) -> AsyncIterator[str]:
    """Serve, healthy, at the address that is yielded; leaving drains and stops everything.

    `profile` and `tls` None: the configured ones. The port is bound first, so that a port in use is told
    at once and /health can say "starting". Raises ConfigError or ModelError before it yields. `hurry` ends
    a drain.
    """
    profile = profile or load_profile(config)
    tls = tls or open_tls(config)
    metrics = Metrics()
    state = ServerState("starting", profile.name, parts=dict.fromkeys(profile.parts(), False))
    sessions = SessionTable(config, metrics)
    if hurry is not None:
        sessions.hurry = hurry
    async with AsyncExitStack() as stack:
        app = build_app(config, metrics, state, sessions)
        address = await stack.enter_async_context(_listening(app, config, tls))
        if config.history.enabled:
            sessions.history = await _opened_history(config)
            stack.push_async_callback(sessions.history.aclose)
        if config.server.record_dir is not None:
            sessions.recorder = _opened_recorder(config, config.server.record_dir, profile)
            stack.push_async_callback(sessions.recorder.aclose)
        models = await stack.enter_async_context(open_models(config, profile))
        stack.push_async_callback(sessions.aclose)
        watch = asyncio.create_task(metrics.watch_loop(), name="loop-lateness")
        stack.push_async_callback(_cancelled, watch)
        sessions.models = timed(Models(**cast(Any, models)), metrics)
        state.parts = dict.fromkeys(profile.parts(), True)
        state.status = "healthy"
        try:
            yield address
        finally:
            state.draining = True
            await sessions.drain(config.server.drain_s)


async def _opened_history(config: Config) -> History:
    settings = config.history
    history = History(config.data_dir, required=settings.required, deadline_ms=settings.deadline_ms)
    try:
        await history.open()
    except HistoryUnusable as exc:
        raise ConfigError(
            f"{exc}; another folder fits (--data DIR), or go on without with history.required = false"
            " or history.enabled = false"
        ) from exc
    return history


def _opened_recorder(config: Config, folder: str, profile: Profile) -> FileRecorder:
    recorder = FileRecorder(Path(folder).expanduser(), profile.name, max_bytes=config.server.record_mib << 20)
    log.warning("every talk is recorded, speech included, in %s", folder)
    return recorder


async def serve(config: Config, sources: Mapping[str, str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Prints the line that scripts wait for once healthy.

    A second signal ends the drain, a third the process. Stopped while it starts, it ends at once. SIGHUP
    reads the certificate and its key again. `sources` says where settings came from.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop, starting = asyncio.get_running_loop(), asyncio.current_task()

    def signalled() -> None:
        if stop.is_set():
            log.info("stopping now")
            hurry.set()
            for number in _STOPS:
                loop.remove_signal_handler(number)
        elif starting is not None:
            starting.cancel()
        stop.set()

    for number in _STOPS:
        loop.add_signal_handler(number, signalled)
    if (tls := open_tls(config, sources)) is not None:
        loop.add_signal_handler(signal.SIGHUP, tls.reload)
    elif not is_loopback(config.server.host):
        log.warning("without server.tls_cert keys and speech cross the network in the clear")
    try:
        async with running(config, tls=tls, hurry=hurry) as address:
            starting = None
            # Not the log: scripts wait for this very line on standard output, at any log level.
            sys.stdout.write(f"ready on {address}\n")
            sys.stdout.flush()
            await stop.wait()
            log.info("stopping: turns in progress have %g s", config.server.drain_s)
    except asyncio.CancelledError:
        if starting is None or not stop.is_set():
            raise
        starting.uncancel()
        log.info("stopped before it was ready")


@asynccontextmanager
async def _listening(app: web.Application, config: Config, tls: Tls | None) -> AsyncIterator[str]:
    host, port = config.server.host, config.server.port
    # aiohttp's access log is a line a request; turns are logged by their session instead.
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=FINISH_S,
        keepalive_timeout=HTTP_IDLE_S,
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=None if tls is None else tls.context)
        try:
            await site.start()
        except OSError as exc:
            reason = str(exc.strerror or exc).rpartition(": ")[2]  # before it, asyncio repeats the address
            raise ConfigError(
                f"cannot listen on {host}:{port} ({reason}); stop what uses it, or choose another with --port"
            ) from exc
        bound = runner.addresses[0][1]
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        await runner.cleanup()


async def _in_thread(work: Callable[[], T]) -> T:
    """Run what blocks in a thread of its own, which neither a cancel nor the end of the process waits for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(T, result))

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="loading", daemon=True).start()
    return await done


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

"""How the server is: GET /health for people and load balancers, GET /metrics for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from typing import Any

import msgspec
from aiohttp import hdrs, web

from riposte import __version__
from riposte.endpoints.gauges import add_gauges
from riposte.endpoints.keys import METRICS, SESSIONS, STATE

log = logging.getLogger(__name__)

GPU_DEADLINE_S = 2.0  # nvidia-smi takes 20 ms, and for ever when the driver hangs
GPU_KEPT_S = 5.0
_NAMES = {"asr": "whisper"}  # a part's name in /health, where it differs from its role


def add_routes(app: web.Application) -> None:
    """Add the routes of this module."""
    app[_GPU] = GpuFigures()
    add_gauges(app)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)


async def health(request: web.Request) -> web.Response:
    """GET /health: 200 once every part is warm, 503 before that, while one is dead, and at the end."""
    state = request.app[STATE]
    models = request.app[SESSIONS].models
    # Few parts can die for good; one that can says so in an attribute `alive`.
    dead = {kind for kind in state.parts if not getattr(getattr(models, kind, None), "alive", True)}
    history = request.app[SESSIONS].history
    if history is not None:
        history.probe()
    unkept = history is not None and history.problem is not None
    broken = state.draining or dead or (unkept and history is not None and history.required)
    status = "unhealthy" if broken else state.status
    figures = {
        "status": status,
        **{_NAMES.get(kind, kind): warm and kind not in dead for kind, warm in state.parts.items()},
        **({} if history is None else {"database": not unkept}),
        "gpu": await request.app[_GPU].read(),
        "profile": state.profile,
        "version": __version__,
        "sessions": request.app[SESSIONS].connected,
        **({"problem": f"history: {history.problem}"} if unkept and history is not None else {}),
    }
    return web.Response(
        status=200 if status == "healthy" else 503,
        body=msgspec.json.encode(figures),
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-store"},
    )


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus text."""
    text, content_type = request.app[METRICS].exposition()
    return web.Response(body=text, headers={hdrs.CONTENT_TYPE: content_type})


class GpuFigures:
    """The first NVIDIA card as nvidia-smi sees it, kept for a few seconds; None where there is none.

    The command and not its library: a driver that hangs then hangs a process that can be ended.
    """

    def __init__(self, command: str = "nvidia-smi") -> None:
        self._command = shutil.which(command)
        self._figures: dict[str, Any] | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()  # many may ask; one process at a time answers them all

    async def read(self) -> dict[str, Any] | None:
        """Return name, utilisation in percent and memory in MiB."""
        if self._command is None:
            return None
        async with self._reading:
            if time.monotonic() - self._read_at >= GPU_KEPT_S:
                self._figures = _parsed(await self._ask(self._command))
                self._read_at = time.monotonic()
            return self._figures

    async def _ask(self, command: str) -> str:
        query = "--query-gpu=name,utilization.gpu,memory.used,memory.total"
        process = await asyncio.create_subprocess_exec(
            command,
            *(query, "--format=csv,noheader,nounits"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(GPU_DEADLINE_S):
                answer, _ = await process.communicate()
            return answer.decode(errors="replace")
        except TimeoutError:
            log.warning("nvidia-smi did not answer within %g s", GPU_DEADLINE_S)
            return ""
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, TimeoutError):
                    process.kill()
                    async with asyncio.timeout(GPU_DEADLINE_S):  # a hanging driver may not let go of it
                        await process.wait()


_GPU = web.AppKey("gpu", GpuFigures)


def _parsed(csv: str) -> dict[str, Any] | None:
    """Read the first line; a figure that the card does not tell ("[N/A]") is None."""
    fields = [field.strip() for field in (csv.splitlines() or [""])[0].split(",")]
    if len(fields) != 4:
        return None
    numbers = [int(field) if field.isdigit() else None for field in fields[1:]]
    return {
        "name": fields[0],
        "utilization": numbers[0],
        "memory_used_mib": numbers[1],
        "memory_total_mib": numbers[2],
    }

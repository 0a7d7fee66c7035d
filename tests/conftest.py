"""What every test may use: a whole server in this process, with fake or with the bundled models."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import riposte  # noqa: F401  before onnxruntime, whose telemetry it turns off
from riposte.client.client import Client, connect
from riposte.config import Part, Profile, load_config

# The same examples at each run, and no clock: a busy machine finds what a quiet one finds. More of them, and
# others each time, with HYPOTHESIS_PROFILE=long.
settings.register_profile(
    "quick", derandomize=True, deadline=None, max_examples=100, stateful_step_count=25, database=None
)
settings.register_profile("long", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

PICO = Path(__file__).parents[1] / "onnx_models" / "pico"


@dataclass(frozen=True)
class Served:
    url: str

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"


@asynccontextmanager
async def serving(profile: Profile | None = None, **flags: Any) -> AsyncIterator[Served]:
    """Serve in this process on a free port. Flags are named like settings, with `__` for the point.

    Conversations are kept in a folder that goes with the server, unless one is given.
    """
    from riposte.app import running

    with tempfile.TemporaryDirectory(prefix="riposte-") as folder:
        # A turn's 100 ms to reach the disk are a promise of a quiet machine, and so are 50 ms behind others.
        usual = {
            "server.port": 0,
            "server.data_dir": folder,
            "history.deadline_ms": 10_000,
            "limits.first_clause_wait_ms": 0,
            # Fakes speak and are spoken to in tones, which a gate must take for each other's echo.
            "turn.echo_gate": profile is not None and profile.name != "fake",
        }
        named = usual | {name.replace("__", "."): value for name, value in flags.items()}
        async with running(load_config(None, {}, named).config, profile) as url:
            yield Served(url)


def fakes(**options: dict[str, Any]) -> Profile:
    """A profile of fakes with these options for its parts: `fakes(llm={"token_s": 0.02})`."""
    parts = {kind: Part("fake", options=options.get(kind, {})) for kind in ("asr", "llm", "tts", "vad")}
    return Profile("fake", **parts)


@pytest.fixture(scope="session", autouse=True)
def data_of_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands that tests start keep nothing in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RIPOSTE_SERVER_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server with fake models, healthy. Its voice hurries, because a turn lasts until it is played."""
    async with serving(fakes(tts={"char_ms": 10}), server__drain_s=1.0) as server:
        yield server


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    """A session on that server."""
    async with connect(served.ws_url) as client:
        yield client


@pytest.fixture
async def slow() -> AsyncIterator[Served]:
    """A server whose replies last long enough to be interrupted."""
    async with serving(fakes(llm={"token_s": 0.01}), server__drain_s=1.0) as server:
        yield server

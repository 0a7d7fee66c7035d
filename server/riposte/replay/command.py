"""`riposte replay FILE`: what was decided in a talk, whether it is decided again, and where the time went."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from riposte import __version__
from riposte.app import open_models
from riposte.audiofile import UnreadableSound
from riposte.config import Config, load_profile
from riposte.errors import RiposteError
from riposte.interfaces import Models
from riposte.recording import MAGIC, Decided, Entry, Header, Out, Recorded, Unreadable, is_recording
from riposte.replay.decisions import Decision, decisions, differences
from riposte.replay.driver import AsFastAsModelsGo, Pace, RealTime, heard, replayed, without_sound
from riposte.replay.settling import Settling, run_settling, watched
from riposte.replay.waterfall import waterfalls

T = TypeVar("T")


def replay(
    path: Path,
    config: Config,
    *,
    own_profile: bool = False,
    own_settings: bool = False,
    real_time: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Replay a recording, or a sound file, and say what came of it; return the exit status.

    A recording is decided with its own profile and settings, unless told otherwise. 1: the decisions differ
    from the recorded ones. Raises RiposteError.
    """
    try:
        with path.open("rb") as file:
            recorded = Recorded(path) if is_recording(file.read(len(MAGIC))) else None
        if recorded is None:
            return _sound(path, config, real_time=real_time, say=say)
        chosen = _as_recorded(config, recorded.header, profile=not own_profile, settings=not own_settings)
        return _recording(path.name, recorded, chosen, real_time=real_time, say=say)
    except OSError as exc:
        raise RiposteError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except (Unreadable, UnreadableSound) as exc:
        raise RiposteError(f"{path}: {exc}") from exc


def _recording(
    name: str, recorded: Recorded, config: Config, *, real_time: bool, say: Callable[[str], None]
) -> int:
    header = recorded.header
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header.begun_at))
    say(f"{name}: {header.profile}, recorded on {day} by Riposte {header.riposte}")
    before: list[Entry] = []
    lasted_s = 0.0
    for entry in recorded:
        lasted_s = entry.ms / 1000
        if isinstance(entry, Decided | Out):  # hours of a microphone's sound need no memory
            before.append(without_sound(entry))
    begun = time.perf_counter()
    after = _run(
        config, real_time, lambda models, pace: replayed(header, iter(recorded), models, config, pace)
    )
    took_s = time.perf_counter() - begun
    settings = header.stored.session.settings
    exact = not settings.get("temperature", header.llm.temperature)
    was = decisions(before, exact_words=exact)
    now = decisions(after, exact_words=exact)
    _timeline(now, say)
    # What the talk was like is what was measured then; in a hurry time stands still for the models.
    say("as it was replayed, in real time:" if real_time else "as it was recorded:")
    _pictures(after if real_time else before, say)
    wrong = differences(was, now)
    for line in wrong:
        say(line)
    verdict = f"{len(wrong)} decisions differ" if wrong else f"the same {len(now)} decisions"
    say(f"{verdict}; {lasted_s:.1f} s of talk in {took_s:.1f} s")
    return 1 if wrong else 0


def _sound(path: Path, config: Config, *, real_time: bool, say: Callable[[str], None]) -> int:
    say(f"{path.name}: a sound file, heard by {load_profile(config).name}, Riposte {__version__}")
    after = _run(config, real_time, lambda models, pace: heard(path, models, config, pace))
    _timeline(decisions(after), say)
    if not real_time:
        say("in session time, which stands still while models work; --real-time shows what they take:")
    _pictures(after, say)
    return 0


def _timeline(made: list[Decision], say: Callable[[str], None]) -> None:
    for one in made:
        say(f"{one.at_s:9.3f} s  {one.track:8} {one.what}")
    say("")


def _pictures(entries: list[Entry], say: Callable[[str], None]) -> None:
    for line in waterfalls(entry.frame for entry in entries if isinstance(entry, Out)):
        say(line)


def _as_recorded(config: Config, header: Header, *, profile: bool, settings: bool) -> Config:
    server = config.server
    if profile:
        server = msgspec.structs.replace(server, profile=header.profile, fake=header.profile == "fake")
    if settings:
        config = msgspec.structs.replace(config, turn=header.turn, limits=header.limits, llm=header.llm)
    return msgspec.structs.replace(config, server=server)


def _run(config: Config, real_time: bool, work: Callable[[Models, Pace], Coroutine[Any, Any, T]]) -> T:
    """Load the models and run this with them, on an event loop of its own."""

    async def run(settling: Settling) -> T:
        async with open_models(config, load_profile(config)) as loaded:
            models = Models(**cast(Any, loaded))
            if real_time:
                return await work(models, RealTime())
            return await work(watched(models, settling), AsFastAsModelsGo(settling))

    return run_settling(run)


__all__ = ["replay"]

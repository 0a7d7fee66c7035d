"""The HTTP routes that other programs call: POST /chat to the whole reply, POST /tts to the first sound."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
import numpy as np
from tqdm import trange

from bench.material import Sentences, data_offset, wav_samples
from bench.report import CaseReport, Row, Target, spread
from bench.server import serving
from bench.yardstick import Yardstick

CHAT_TARGETS = (Target("whole reply, client's watch", "p95", 200.0),)
TTS_TARGETS = (Target("first sound, client's watch", "p50", 50.0),)
_AUDIBLE = 300  # of 32767: 1 % of full scale

Probe = Callable[[aiohttp.ClientSession, str, str], Awaitable[dict[str, float]]]


def main() -> None:
    """Run the case and print its report as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pico")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    report = asyncio.run(run(options.profile, options.turns, options.seed))
    print(msgspec.json.encode(report).decode())


async def run(profile: str, turns: int, seed: int) -> CaseReport:
    """Measure both routes, one request after the other."""
    yardstick = Yardstick()
    sentences = Sentences(seed)
    async with serving(profile) as server, aiohttp.ClientSession(server.url) as http:
        rows = [
            await _row("POST /chat", chat, CHAT_TARGETS, http, sentences, turns, yardstick),
            await _row("POST /tts", tts, TTS_TARGETS, http, sentences, turns, yardstick),
        ]
    if profile == "fake":
        rows = [msgspec.structs.replace(row, targets=()) for row in rows]
    note = "one request at a time; /chat in conversations of ten turns"
    return CaseReport("http", tuple(rows), notes=(note,))


async def _row(
    name: str,
    probe: Probe,
    targets: tuple[Target, ...],
    http: aiohttp.ClientSession,
    sentences: Sentences,
    turns: int,
    yardstick: Yardstick,
) -> Row:
    await probe(http, next(sentences), "warm-up")
    before = await asyncio.to_thread(yardstick.measure)
    readings: dict[str, list[float]] = {}
    for number in trange(turns, desc=name, file=sys.stderr):
        for figure, value in (await probe(http, next(sentences), f"talk-{number // 10}")).items():
            readings.setdefault(figure, []).append(value)
    after = await asyncio.to_thread(yardstick.measure)
    figures = {figure: spread(values) for figure, values in readings.items()}
    return Row(f"{name} →", 1, turns, figures, round(yardstick.off(before, after), 3), targets)


async def chat(http: aiohttp.ClientSession, sentence: str, session: str) -> dict[str, float]:
    """Send a message and wait for the whole reply."""
    started = time.perf_counter()
    async with http.post("/chat", json={"message": sentence, "session_id": session}) as response:
        response.raise_for_status()
        reply = await response.json()
    whole_ms = (time.perf_counter() - started) * 1000
    return {"whole reply": float(reply["latency_ms"]), "whole reply, client's watch": whole_ms}


async def tts(http: aiohttp.ClientSession, sentence: str, session: str) -> dict[str, float]:
    """Ask for a sentence's sound and read as far as a listener hears something; then go away."""
    started = time.perf_counter()
    wav, first_ms = b"", None
    async with http.post("/tts", json={"text": sentence}) as response:
        response.raise_for_status()
        async for piece in response.content.iter_any():
            wav += piece
            offset = data_offset(wav)
            if offset is None or len(wav) < offset + 2:
                continue
            if first_ms is None:
                first_ms = (time.perf_counter() - started) * 1000
            rate_hz, samples = wav_samples(wav)
            voiced = np.flatnonzero(np.abs(samples.astype(np.int32)) > _AUDIBLE)
            if voiced.size:
                silence_ms = float(voiced[0]) / rate_hz * 1000
                return {
                    "first sound, client's watch": first_ms,
                    "audible, client's watch": first_ms + silence_ms,
                }
    raise RuntimeError("POST /tts gave no sound for a sentence")


if __name__ == "__main__":
    main()

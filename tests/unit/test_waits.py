"""Every wait in the server has a deadline: beside it in the code, or one that the table here names.

A wait is an `await` of what is no coroutine of ours (those are looked at where they are written), of a model,
or of a lock, and a call that blocks its thread. It may stand inside `asyncio.timeout`, or have a `timeout` of
its own. Any other gets a line in BOUNDED, and its deadline one in docs/behaviour.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "server" / "riposte"
# Commands of a person, who has Ctrl-C; the client's side; and what only pretends to be a model.
NOT_THE_SERVER = ("cli", "terminal", "talk", "replay", "client.", "backends.fake")
# Coroutines of ours go by these names too, and which one is meant cannot be told from here.
SHARED_NAMES = {"wait", "get", "put", "join", "acquire", "read", "receive", "close", "run", "communicate"}
# They wait for a model, which may never answer, so the name being ours is no reason.
MODEL_CALLS = {"transcribe", "score", "prefill", "turn_end", "finished", "warm_up"}
ENDS_BY_ITSELF = {"asyncio.sleep", "asyncio.gather", "anext"}  # or when what is ours in it does
OF_OURS = {
    "sockets.close",
    "rounds.wait",
    "session.receive",
    "self._verdict.result",
    "self._session.receive",
    "thinking.result",
    "request.app[_GPU].read",
}
BLOCKS = {"join", "wait", "result", "acquire", "get"}  # where called with nothing, and not awaited

LET_GO = "`turn.stop_deadline_s`: then Owed.watch ends the turn, whatever the model does"
WRITER = "`limits.slow_client_s`: the writer then closes the outbox, which ends every wait for it"
ASKED = "whoever asks has a deadline: a stage of a turn, or `server.start_deadline_s`"
IDLE = "nothing to do, and nobody waits for it: the end of its owner ends it"
OURS = "a task of our own that was cancelled, or is over"

BOUNDED = {
    "turn.pipeline.Turn.run: after.ended.wait": LET_GO,
    "turn.voicing.Voicing.speak: clauses.get": "`turn.llm_deadline_s`",
    "turn.voicing.Voicing.speak: sound.put": "as `play` takes it, which the outbox bounds",
    "turn.voicing.Voicing.play: self._sound.get": "`turn.llm_deadline_s` and `turn.tts_deadline_s`",
    "turn.pipeline.Turn._round: self.gate.put": WRITER,
    "turn.pipeline.Turn._answer: self.gate.put": WRITER,
    "turn.voicing.Voicing.play: self.gate.put": WRITER,
    "turn.outbox.Outbox.put: room": WRITER,
    "turn.outbox.Outbox._settle: self._unkept.pop": "`history.deadline_ms`",
    "history.History._in_thread: asyncio.get_running_loop().run_in_executor": "READ_S, CLOSE_S: of who waits",
    "turn.outbox.Outbox.take: self._consumer": "a turn's deadlines, then `limits.idle_s`",
    "turn.gate.Gate.opened: self._opened.wait": "`turn.silence_max_ms`, twice: TurnTaking opens or drops it",
    "turn.gate.Gate.put: self.outbox.put": WRITER,
    "turn.draft.Draft.verdict: asyncio.wait": "`turn.asr_deadline_s`, of its callers or the turn's",
    "turn.utterance.Utterance.transcribe: asyncio.wait": "`turn.asr_deadline_s`, in Turn._hear",
    "turn.utterance.Utterance.transcribe: self.listening.transcribe": "`turn.asr_deadline_s`, in Turn._hear",
    "turn_taking.TurnTaking._opinion: utterance.transcribe": "`turn.asr_deadline_s`, in Turn._hear",
    "turn_taking.TurnTaking._show: utterance.ahead": "the utterance: its end cancels it",
    "turn.microphone.Microphone.push_16k: self._vad.score": "`turn.asr_deadline_s`, in Hearing",
    "hearing.Hearing.audio: self._lock": "who holds it: the deadlines of what it asks",
    "hearing.Hearing.end: self._lock": "who holds it: the deadlines of what it asks",
    "hearing.Hearing.clear: self._lock": "who holds it: the deadlines of what it asks",
    "hearing.Hearing._stalled: self._lock": "who holds it: the deadlines of what it asks",
    "session.Session.turns_over: turn.ended.wait": "the turn's own deadlines; `server.drain_s`",
    "session.Session.left: self._left.wait": "`server.drain_s`, in SessionTable.drain",
    "session.Session._put: self._outbox.put": WRITER,
    "sessions.SessionTable._done: asyncio.wait": OURS,
    "sessions.SessionTable._done: unless.wait": "a task; _done itself waits for `within_s`",
    "endpoints.ws._Connection.serve: asyncio.wait": OURS,
    "endpoints.ws._Connection._send: self._outbox.put": WRITER,
    "endpoints.ws._Connection._encode: self._socket.send_bytes": "`limits.slow_client_s`, of its callers",
    "endpoints.ws._Connection._encode: self._socket.send_str": "`limits.slow_client_s`, of its callers",
    "endpoints.chat_socket.chat_socket: asyncio.wait": OURS,
    "endpoints.chat_socket._Chat.answer_lines: self._lines.get": "`limits.idle_s`, in read_lines",
    "endpoints.middleware.errors: handler": "each handler's own",
    "endpoints.middleware.sent_in_time: handler": "each handler's own",
    "endpoints.middleware.middlewares.guard: handler": "each handler's own",
    "app.serve: stop.wait": "the server's whole life",
    "app.running: stack.enter_async_context": "ours; binding a port, and open_models",
    "app._in_thread: done": "`server.start_deadline_s`, in open_models",
    "app._listening: runner.setup": "aiohttp makes its objects",
    "app._listening: runner.cleanup": "FINISH_S, twice, and CLOSE_S of the sockets",
    "app._cancelled: task": OURS,
    "timed._TimedListening.transcribe: self._listening.transcribe": ASKED,
    "backends.worker._Job.take: self.waiter": ASKED,
    "backends.worker.Worker._next: self._changed.wait": IDLE,
    "backends.llm_scheduler.Scheduler._take_in: self._changed.wait": IDLE,
    "backends.llm_job.Job.next: self._pieces.get": ASKED,
    "backends.llm_onnx.OnnxLlm._encode: loop.run_in_executor": ASKED,
    "backends.llm_onnx.OnnxLlm.warm_up: asyncio.wrap_future": ASKED,
    "backends.llm_onnx.OnnxLlm.aclose: asyncio.to_thread": "STOP_S, in the thread",
    "backends.turn_smart.SmartTurn.finished: self._worker.run": ASKED,
    "backends.turn_smart.SmartTurn.warm_up: self._worker.run": ASKED,
    "backends.vad_silero.SileroVad._score: self._worker.run": ASKED,
    "backends.vad_silero.SileroVad.warm_up: self._worker.run": ASKED,
    "backends.tts_espeak.EspeakTts.speak: clause.pieces.get": ASKED,
    "backends.tts_espeak.EspeakTts._serve: self._waiting.get": IDLE,
    "backends.tts_espeak.EspeakTts._say: process.receive": "the clause's `deadline_s`, in _serve",
    "backends.tts_espeak.EspeakTts._ready: self._starting": "who holds it: _START_S",
    "backends.tts_espeak._Process.receive: self._out.readexactly": "`deadline_s` or _START_S, of its callers",
    "backends.tts_espeak._Process.start: asyncio.create_subprocess_exec": "the kernel, and what ASKED says",
    "backends.espeak_helper.Helper.serve: self._said.get": "another process's idleness: it ends with stdin",
    "endpoints.admin.GpuFigures._ask: asyncio.create_subprocess_exec": "the kernel",
    "endpoints.admin.GpuFigures.read: self._reading": "who holds it: GPU_DEADLINE_S, twice",
}


def waits() -> Iterator[str]:
    """Yield every wait without a deadline beside it, as "module.function: what is awaited"."""
    trees = {}
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        if not module.startswith(NOT_THE_SERVER):
            trees[module] = ast.parse(path.read_text())
    ours = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef)
    }
    for module, tree in trees.items():
        yield from _Waits(module, ours - SHARED_NAMES).of(tree)


class _Waits:
    def __init__(self, module: str, ours: set[str]) -> None:
        self._module = module
        self._ours = ours

    def of(
        self, node: ast.AST, where: str = "", bounded: bool = False, awaited: bool = False
    ) -> Iterator[str]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            where, bounded = f"{where}.{node.name}", False
        if isinstance(node, ast.AsyncWith):
            for item in node.items:
                bounded = bounded or _is_deadline(item.context_expr)
                if not isinstance(item.context_expr, ast.Call) and not bounded:
                    yield self._named(where, item.context_expr)
        if isinstance(node, ast.Await) and not bounded and not self._is_looked_at(node.value):
            yield self._named(where, node.value)
        if isinstance(node, ast.Call) and not awaited and not bounded and _blocks(node):
            yield self._named(where, node)
        for child in ast.iter_child_nodes(node):
            yield from self.of(child, where, bounded, awaited or isinstance(node, ast.Await))

    def _named(self, where: str, node: ast.expr) -> str:
        return f"{self._module}{where}: {ast.unparse(node.func if isinstance(node, ast.Call) else node)}"

    def _is_looked_at(self, node: ast.expr) -> bool:
        """Is it ours, so that its own waits are looked at; or does it end by itself?"""
        if not isinstance(node, ast.Call):
            return False
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        timed = any(keyword.arg == "timeout" for keyword in node.keywords)
        return timed or name in ENDS_BY_ITSELF | OF_OURS or (last in self._ours and last not in MODEL_CALLS)


def _is_deadline(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("asyncio.timeout", "_deadline"):
        return False
    return not any(isinstance(part, ast.Constant) and part.value is None for part in ast.walk(node))


def _blocks(node: ast.Call) -> bool:
    bare = not node.args and not any(keyword.arg == "timeout" for keyword in node.keywords)
    name = ast.unparse(node.func)
    return bare and name not in OF_OURS and name.rpartition(".")[2] in BLOCKS and "." in name


def test_every_wait_has_a_deadline_or_a_reason() -> None:
    found = set(waits())
    without = sorted(found - set(BOUNDED))
    assert not without, "no deadline; put it into asyncio.timeout, or say in BOUNDED what ends it"
    assert not sorted(set(BOUNDED) - found), "gone, or bounded in the code by now"


def test_a_wait_without_a_deadline_is_found() -> None:
    tree = ast.parse(
        """
async def ours():
    await queue.get()
    async with asyncio.timeout(1):
        await queue.get()
    async with asyncio.timeout(None):
        await future
    async with self._lock, asyncio.timeout(1):
        await asyncio.wait({task})
    await asyncio.wait({task}, timeout=1)
    await ours()
    thread.join()
    ", ".join(names)
"""
    )
    assert list(_Waits("m", {"ours"}).of(tree)) == [
        "m.ours: queue.get",
        "m.ours: future",
        "m.ours: self._lock",
        "m.ours: thread.join",
    ]

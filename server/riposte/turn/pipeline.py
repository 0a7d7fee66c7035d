"""One turn: words, tokens, clauses, sound, in one task that always ends in exactly one `done`.

The stages overlap: a token leaves as it is made, a clause goes to the voice as soon as it is one, and its
sound leaves as it is made, paced. Cancelling the task closes each model's stream, which stops the model
within one step.

A draft is a turn whose gate is closed: it works up to its first clause's sound, and nobody knows of it.
Opened, it is the turn; stopped before that, it never was one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from riposte.errors import BadValue, ClientError, EngineError, TooLarge
from riposte.interfaces import Heard, LlmUsage, Message, Models, Piece
from riposte.turn.chunker import Chunker
from riposte.turn.gate import Gate
from riposte.turn.owed import Owed
from riposte.turn.playback import Playback
from riposte.turn.spec import Stages, TurnEnd, TurnSpec
from riposte.turn.tool_rounds import NOT_WAITED_FOR, ToolRounds
from riposte.turn.voicing import Voicing
from riposte.wire.frames import (
    Done,
    EndReason,
    Error,
    Timing,
    Token,
    ToolCall,
    Transcript,
    Usage,
)

log = logging.getLogger(__name__)

NO_USAGE = LlmUsage(0, 0, 0)


@dataclass(slots=True)
class Turn:
    """A turn in progress. `run` is its task; `on_end` is called once, and awaits nothing.

    A model that does not let go of a stream cannot be awaited: the turn then ends without it (`ended` is
    set), and its task is over whenever the model is.
    """

    spec: TurnSpec
    models: Models
    gate: Gate
    on_end: Callable[[TurnEnd], None]
    announced: bool = False  # a transcript of it was sent before it began
    zero: float = 0.0  # what the timing counts from
    continued: bool = False  # its user had not finished: another turn answers all the words
    reason: EndReason | None = None  # set by `stop`
    user: str = ""
    stages: Stages = field(default_factory=Stages)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _owed: Owed = field(init=False)
    _rounds: ToolRounds = field(init=False)
    _usage: LlmUsage = NO_USAGE  # of the rounds that are over, together
    _tokens: int = 0  # of the current one
    _context_tokens: int = 0
    _voicing: Voicing | None = None
    _waiting: asyncio.Task[None] | None = None  # its own task, while the turn before ends
    _answering: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.user = self.spec.text or ""
        self._rounds = ToolRounds(self.spec.tools, self.spec.tool_rounds)
        self._owed = Owed(self.spec.deadlines.stop_s, self._give_up)

    @property
    def playback(self) -> Playback | None:
        """The account of its sound, once it may have some."""
        return None if self._voicing is None else self._voicing.playback

    @property
    def busy(self) -> bool:
        """Does a model owe it something?"""
        return self._owed.waiting

    def open(self, zero: float) -> None:
        """Let a draft be the turn that it prepared; its timing counts from `zero`."""
        self.zero, self.stages.endpoint = zero, self.spec.timer.now()
        self.gate.open()

    async def run(self, after: Turn | None) -> None:
        """Answer, once the turn before has ended, so that turns end in their order."""
        if self.gate.is_open:
            self.stages.endpoint = self.spec.timer.now()
        reason: EndReason = "error"
        try:
            self._waiting = asyncio.current_task()
            if after is not None:
                await after.ended.wait()  # it was told to stop, so it ends within `stop_s`
            if self.reason is not None:
                raise asyncio.CancelledError
            self._answering = asyncio.current_task()
            self._owed.watch()
            reason = await self._answer()
        except asyncio.CancelledError:
            reason = self.reason or "cancelled"
            raise
        except Exception as exc:
            if self.reason is None:
                self._fail(exc)
            else:  # told to stop, it failed instead: nobody waits for what it would have said
                reason = self.reason
                log.warning("turn %d failed while it stopped", self.spec.number, exc_info=exc)
        finally:
            self.conclude(reason)

    def stop(self, reason: EndReason) -> None:
        """End the turn for this reason: at once, or as soon as the one before it has ended."""
        self.reason = reason
        if self._answering is not None:
            self._owed.stop()
            self._answering.cancel()
        elif not self.gate.is_open:
            self.conclude(reason)  # nobody knows of it, and nothing of it has begun
            if self._waiting is not None:
                self._waiting.cancel()

    def conclude(self, reason: EndReason) -> None:
        """Settle the turn, once; awaits nothing.

        `run` does it in its `finally`. The task's owner does it again when the task is over, because a task
        that is cancelled before its first step never reaches its `finally`.
        """
        if self.ended.is_set():
            return
        self.ended.set()
        self._owed.close()
        if self.spec.release is not None:
            self.spec.release()
        if self.gate.is_open:
            self.on_end(self._settle(reason))

    def tool_result(self, call: str, content: str, max_chars: int) -> None:
        """Take the result that a tool call waits for. Raises BadValue or TooLarge: then it still waits."""
        if self.reason is not None:
            raise BadValue(NOT_WAITED_FOR)
        name = self._rounds.tool_of(call)
        if len(content) > max_chars:
            raise TooLarge(
                f"the result of {name} has {len(content)} characters; {max_chars} are allowed;"
                " the call still waits for one"
            )
        self._rounds.answer(call, content)

    def first_audio_sent(self) -> None:
        """Note that the turn's first `audio` frame was handed to the socket."""
        self.stages.first_audio_sent = self.spec.timer.now()

    def _give_up(self, what: str) -> None:
        log.error("turn %d ends without %s, which does not let go", self.spec.number, what)
        if self.reason is None:
            self._fail(EngineError(f"{what} does not answer, and does not stop"))
        self.conclude(self.reason or "error")

    async def _answer(self) -> EndReason:
        spec = self.spec
        if spec.words is not None:
            heard = await self._hear(spec.words)
            self.user = heard.text
            if not heard.text and spec.clock == "speech" and not self.announced:
                await self.gate.opened()
                return "dropped"  # noise: nobody was told of a turn, and nobody needs to be
            await self.gate.put(Transcript(spec.number, heard.text, len(heard.text), True))
            if not heard.text:
                await self.gate.opened()
                return "stop" if spec.clock == "end" else "dropped"
        clauses: asyncio.Queue[str | None] = asyncio.Queue()  # bounded by max_tokens and tool_rounds
        async with asyncio.TaskGroup() as group:
            thinking = group.create_task(
                self._recite(clauses) if spec.say else self._think(clauses), name=f"llm-{spec.number}"
            )
            if "audio" in spec.modalities:
                voicing = self._voicing = Voicing(spec, self.models.tts, self.gate, self.stages, self._owed)
                group.create_task(voicing.speak(clauses), name=f"tts-{spec.number}")
                group.create_task(voicing.play(), name=f"play-{spec.number}")
        await self.gate.opened()
        return thinking.result()

    async def _hear(self, words: Callable[[], Awaitable[Heard]]) -> Heard:
        heard = await self._owed.answer(words(), self.spec.deadlines.asr_s, "speech recognition")
        self.stages.asr = self.spec.timer.now()
        return heard

    async def _recite(self, clauses: asyncio.Queue[str | None]) -> EndReason:
        """Cut a given text into clauses; the language model has no part in it."""
        chunker = Chunker()
        for clause in [*chunker.push(self.user), chunker.finish(), None]:
            if clause != "":
                clauses.put_nowait(clause)
        return "stop"

    async def _think(self, clauses: asyncio.Queue[str | None]) -> EndReason:
        """Generate the reply, in as many rounds as the model asks for tools, and pass its clauses on."""
        chunker, rounds = Chunker(), self._rounds
        while True:
            finish = await self._round(chunker, clauses)
            # What was said before the tools is spoken while they are at work.
            if (rest := chunker.finish()) is not None:
                self._pass_on(rest, clauses)
            if not rounds.asked:
                break
            await self.gate.opened()  # until then nobody was asked
            await rounds.wait(self.spec.deadlines.tool_s)
            rounds.begin()
            chunker = Chunker()  # what was said before may have been played by now: begin shortly again
            if self.playback is not None:
                self.playback.nothing_due(self.spec.timer.now())
        clauses.put_nowait(None)
        return finish

    async def _round(self, chunker: Chunker, clauses: asyncio.Queue[str | None]) -> EndReason:
        """Generate once; send tokens and tool calls."""
        spec = self.spec
        wants_text = "text" in spec.modalities
        finish: EndReason = "stop"
        async with aclosing(self._generate()) as pieces:
            async for piece in pieces:
                if piece.text:
                    now = spec.timer.now()
                    if self.stages.llm_first_token is None:
                        self.stages.llm_first_token = now
                    self.stages.last_token = now
                    text = self._rounds.say(piece.text)
                    for clause in chunker.push(text):
                        self._pass_on(clause, clauses)
                    if wants_text:
                        await self.gate.put(Token(spec.number, text))
                for use in piece.tool_calls:
                    if self._rounds.ask(use):
                        self.stages.tools = spec.timer.now()
                        await self.gate.put(ToolCall(spec.number, use.call, use.name, use.arguments))
                self._tokens += len(piece.token_ids)
                if piece.finish is not None and piece.usage is not None:
                    finish, used, before = piece.finish, piece.usage, self._usage
                    self._usage = LlmUsage(
                        before.prompt_tokens + used.prompt_tokens,
                        before.cached_tokens + used.cached_tokens,
                        before.completion_tokens + used.completion_tokens,
                    )
                    self._context_tokens = used.prompt_tokens + used.completion_tokens
                    self._tokens = 0
        return finish

    def _pass_on(self, clause: str, clauses: asyncio.Queue[str | None]) -> None:
        self._rounds.count_clause()
        clauses.put_nowait(clause)

    async def _generate(self) -> AsyncGenerator[Piece, None]:
        """Stream the reply; a conversation too long for the model loses its oldest half first."""
        spec, steps = self.spec, self._rounds.steps()
        while True:
            stream = self.models.llm.generate(
                [*spec.prompt(self.user), *steps],
                key=spec.conversation_key,
                sampling=spec.sampling,
                tools=spec.tools,
            )
            try:
                each = self._owed.each(stream, spec.deadlines.llm_s, "the language model")
                async with aclosing(each) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except TooLarge:
                # Raised before the first piece, so nothing of this round was said yet.
                if not spec.shorten([Message("user", self.user), *steps]):
                    raise

    def _fail(self, exc: Exception) -> None:
        """Tell the client why its turn ends; the log gets what the client must not see."""
        if self.ended.is_set():
            return  # it was given up meanwhile, and its client told
        while isinstance(exc, ExceptionGroup):  # of the TaskGroup: the first failure cancelled the others
            exc = exc.exceptions[0]
        if isinstance(exc, ClientError):
            error = Error(exc.code, str(exc), self.spec.number)
        else:
            log.error("turn %d failed", self.spec.number, exc_info=exc)
            error = Error("internal", "internal error; the server's log has it", self.spec.number)
        self.gate.put_now(error)

    def _settle(self, reason: EndReason) -> TurnEnd:
        spec, now = self.spec, self.spec.timer.now()
        heard_ms, clauses = None, None
        if self.playback is not None:
            complete = reason in ("stop", "length")
            heard_ms = self.playback.sent_ms if complete else self.playback.heard_ms(now)
            clauses = None if complete else self.playback.heard_clauses(heard_ms)
        reply = self._rounds.kept()[1]
        steps, heard, first_clause = self._rounds.kept(clauses, failed=reason == "error")
        if self.playback is not None:
            self.playback.reply_from = first_clause
        usage = Usage(
            self._usage.prompt_tokens,
            self._usage.cached_tokens,
            self._usage.completion_tokens + self._tokens,
            0 if self.playback is None else self.playback.sent_ms,
        )
        done = Done(spec.number, reason, heard_ms, usage, self._timing(now))
        unseen = reason == "dropped" and not self.announced and spec.clock == "speech"
        user = "" if spec.say or self.continued else self.user
        filled = self._context_tokens + self._tokens
        heard = "" if spec.say else heard
        calls = self._rounds.outcomes()
        return TurnEnd(user, steps, reply, heard, filled, calls, done, self.playback, unseen)

    def _timing(self, now: float) -> Timing:
        stages, zero, voicing = self.stages, self.zero, self._voicing
        if stages.first_audio_sent is not None and voicing is not None and voicing.audible:
            stages.audible = stages.first_audio_sent + voicing.silence / self.spec.audio_out_hz

        def ms(at: float | None) -> float | None:
            return None if at is None else round((at - zero) * 1000, 3)

        return Timing(
            self.spec.clock,
            endpoint=ms(stages.endpoint),
            asr=ms(stages.asr),
            llm_first_token=ms(stages.llm_first_token),
            tts_first_audio=ms(stages.tts_first_audio),
            first_audio_sent=ms(stages.first_audio_sent),
            audible=ms(stages.audible),
            last_token=ms(stages.last_token),
            done=ms(now),
        )

"""One client: its settings, microphone, turns, and the outbox of whoever is connected.

Frames are acted on one after the other (`receive`). `aclose` ends what is under way.
"""

from __future__ import annotations

import asyncio

from riposte.config import Config
from riposte.errors import BadValue, ClientError
from riposte.hearing import HEARING_SETTINGS, Hearing
from riposte.interfaces import Models
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.recording import Recorder, begin_recording
from riposte.settings import Settings, default_settings, known_voice, patched, restored
from riposte.turn.admission import Admission
from riposte.turn.clock import WALL, Clock
from riposte.turn.held import HeldAudio
from riposte.turn.outbox import Outbox
from riposte.turn_making import TurnMaking
from riposte.turn_taking import TurnTaking
from riposte.turns import Turns
from riposte.wire import frames as wire


class Session:
    """One client's side of the server. `paced` False: sound leaves as fast as it is made."""

    def __init__(
        self,
        session_id: str,
        models: Models,
        config: Config,
        metrics: Metrics,
        held_audio: HeldAudio,
        memory: Memory,
        *,
        paced: bool = True,
        clock: Clock = WALL,
        admission: Admission | None = None,  # of the server; None: nobody is refused
        recorder: Recorder | None = None,
        at: int = 0,  # session time: samples heard before
    ) -> None:
        self.id = session_id
        self._models = models
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._recorder = recorder  # None: nothing is recorded
        self._memory = memory
        self._defaults = default_settings(
            models,
            instructions=config.llm.instructions,
            max_tokens=config.llm.max_tokens,
            temperature=config.llm.temperature,
        )
        self.settings = restored(memory.settings, self._defaults, models, config.limits)
        making = TurnMaking(
            session_id,
            config,
            memory,
            clock,
            paced,
            session_at=lambda: self._hearing.at,
            echo=lambda: self._hearing.echo,
        )
        self._turns = Turns(
            making,
            models,
            metrics,
            settings=lambda: self.settings,
            defaults=self._defaults,
            clear_draft=lambda: self._taking.drop(),
            admission=admission or Admission(),
        )
        self._taking = TurnTaking(
            models, config, self._turns, key=session_id, settings=lambda: self.settings, now=clock.now
        )
        self._hearing = Hearing(
            models,
            config,
            held_audio,
            self._taking,
            self._turns,
            clock=clock,
            settings=lambda: self.settings,
            refused=self._refused,
            at=at,
        )
        self._outbox: Outbox | None = None
        self._left = asyncio.Event()  # no client is connected
        self._left.set()

    # -- the connection

    @property
    def attached(self) -> bool:
        """Is a client connected?"""
        return self._outbox is not None

    async def turns_over(self) -> None:
        """Wait until no turn is in progress."""
        while (turn := self._turns.current) is not None:
            await turn.ended.wait()

    async def left(self) -> None:
        """Wait until no client is connected."""
        await self._left.wait()

    @property
    def in_turn(self) -> bool:
        """Is a turn in progress?"""
        return self._turns.current is not None

    @property
    def busy(self) -> bool:
        """Is anything under way that only a model's answer will end?"""
        return self._turns.busy or self._taking.busy

    @property
    def draining(self) -> bool:
        """Does it take no new turn?"""
        return self._turns.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._turns.draining = draining

    @property
    def used_at(self) -> float:
        """When it was last used."""
        return self._turns.used_at

    @property
    def at(self) -> int:
        """Session time: samples heard, at 16 kHz."""
        return self._hearing.at

    @property
    def outbox_bytes(self) -> int:
        """How much waits to be sent to its client."""
        return 0 if self._outbox is None else self._outbox.waiting_bytes

    def attach(self) -> Outbox:
        """Begin a connection; an older one is closed with 4001. Return what it must send."""
        self.hang_up(4001, "a newer connection took this session over")
        self._outbox = self._turns.outbox = Outbox(self._config.limits.outbox_bytes, self._turns.sent)
        self._left.clear()
        if self._recorder is not None:
            self._turns.recording = begin_recording(
                self._recorder, self._turns.stored(), self._models, self._config, self._clock, lambda: self.at
            )
        return self._outbox

    def detach(self, outbox: Outbox) -> None:
        """End that connection: its reply is cancelled, what it said and was told is kept."""
        if outbox is not self._outbox:
            return  # a newer one took over
        self.cancel()
        self._hearing.close()
        self._turns.clear()
        self._outbox = self._turns.outbox = None
        if self._turns.recording is not None:
            self._turns.recording.end()
            self._turns.recording = None
        self._left.set()
        self._turns.used_at = self._clock.now()

    def cancel(self) -> None:
        """Stop the reply in progress, as the client's `cancel` does."""
        self._turns.cancel()

    def bid_farewell(self, code: int, error: ClientError) -> None:
        """Tell the client why, then close its connection with this WebSocket code."""
        if self._outbox is not None:
            self._hearing.close()  # an utterance still open will not become a turn
            self._turns.clear()
            self._outbox.put_now(wire.Error(error.code, str(error)))
            self._outbox.close(code, str(error))

    def hang_up(self, code: int, reason: str) -> None:
        """Cancel the reply and close the connection with this WebSocket code, without an error."""
        if self._outbox is not None:
            outbox = self._outbox
            self.detach(outbox)
            outbox.close(code, reason)

    def keep_nothing(self) -> None:
        """Write nothing more to disk, whenever the turn in progress ends: the session was deleted."""
        self._memory.keep_nothing()

    async def aclose(self) -> None:
        """End everything that the session started. What does not within `turn.stop_deadline_s` is left."""
        if self._outbox is not None:
            self.detach(self._outbox)
        await self._hearing.aclose()
        await self._turns.aclose()
        self._models.llm.forget(self.id)

    # -- frames

    async def receive(self, frame: wire.ClientFrame) -> None:
        """Act on one frame of the client. Raises ClientError, and then nothing of the frame was used."""
        now = self._clock.now()
        heard_s = len(frame.pcm) / 2 / self.settings.audio_in_hz if isinstance(frame, wire.AudioIn) else 0.0
        self._metrics.count_frame_in(heard_s)
        turns = self._turns
        if turns.recording is not None:
            turns.recording.received(frame)
        match frame:
            case wire.AudioIn(pcm):
                await self._hearing.audio(pcm, now)
            case wire.Text(text):
                turns.admit(text)
                turns.text(text, now)
            case wire.Say(text, voice):
                turns.admit(text)
                if voice is not None:
                    known_voice(voice, self._models)
                turns.say(text, voice, now)
            case wire.End():
                turns.admit()
                outbox = self._outbox
                utterance = await self._hearing.end(now)
                if outbox is not self._outbox:
                    utterance.close()  # a newer connection took over meanwhile
                else:
                    turns.end(utterance, now)
            case wire.Cancel():
                self.cancel()
            case wire.Clear():
                await self._hearing.clear()
                turns.clear()
            case wire.Played(turn, ms):
                turns.played(turn, ms)
            case wire.Mark():
                await self._put(frame)
            case wire.ToolResult(call, content):
                turns.tool_result(call, content)
            case wire.Hello():
                await self.hello(frame, resumed=False)

    async def hello(self, hello: wire.Hello, *, resumed: bool) -> None:
        """Apply a `hello` from the next turn on, and answer it."""
        if hello.session not in (None, self.id):
            raise BadValue("a connection has one session; open another connection for that one")
        changed = self._changed(hello)
        if any(getattr(changed, name) != getattr(self.settings, name) for name in HEARING_SETTINGS):
            await self._hearing.clear()
        self.configure(hello)
        new, models = self.settings, self._models
        await self._put(
            wire.Ready(
                version=wire.PROTOCOL_VERSION,
                session=self.id,
                resumed=resumed,
                audio_in_hz=new.audio_in_hz,
                audio_out_hz=new.audio_out_hz,
                models=wire.ModelNames(models.asr.name, models.llm.name, models.tts.name, models.vad.name),
                voices=[voice.id for voice in models.tts.voices],
            )
        )

    def configure(self, hello: wire.Hello) -> None:
        """Apply a `hello`'s settings; audio that no turn has used is forgotten where they change hearing."""
        old, self.settings = self.settings, self._changed(hello)
        self._taking.drop()  # it was prepared with the settings of before
        if any(getattr(old, name) != getattr(self.settings, name) for name in HEARING_SETTINGS):
            self._hearing.close()
            self._turns.clear()

    def _changed(self, hello: wire.Hello) -> Settings:
        return patched(self.settings, hello, self._defaults, self._models, self._config.limits)

    async def _refused(self, error: ClientError) -> None:
        await self._put(wire.Error(error.code, str(error)))

    async def _put(self, frame: wire.ServerFrame) -> None:
        if self._outbox is not None:
            await self._outbox.put(frame)

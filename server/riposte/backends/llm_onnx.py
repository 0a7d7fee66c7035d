"""The language model on onnxruntime: any decoder that onnxruntime-genai's builder exports.

From half a million to seven billion parameters the code is the same: this file is the event loop's side
of it, llm_scheduler the thread's, llm_graph the model, llm_cache the conversations in its memory.

Tools are shown to the model through its chat template, and its calls are read out of the reply's text;
where none are offered, text is text. Stop strings count inside calls too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from riposte.backends.chat_template import ChatFormat
from riposte.backends.detok import token_bytes
from riposte.backends.llm_graph import Graph, read_graph_config
from riposte.backends.llm_job import Job, Reply, Vocabulary
from riposte.backends.llm_scheduler import Scheduler
from riposte.backends.tool_calls import TOOL_MARKS, ToolCallReader
from riposte.backends.worker import STOP_S
from riposte.errors import ConfigError, EngineError, ModelError, RiposteError, TooLarge
from riposte.interfaces import LlmUsage, Message, Piece, Priority, Sampling
from riposte.manifest import check_manifest

Ids = TypeVar("Ids", NDArray[np.int64], NDArray[np.int64] | None)

_log = logging.getLogger(__name__)

# A token of cache is 4 KB (pico) to 115 KB (7B, fp32), times slots: a model's own 32,768 is for those
# who ask for it.
_CONTEXT_TOKENS = 4096


class OnnxLlm:
    """Satisfies Llm. Constructing blocks and holds the GIL while the model loads: before serving, please.

    threads: of one step; slots: replies made at a time and conversations kept in memory; context_tokens:
    prompt and reply together, None for what the model takes, at most 4096. Raises ModelError for a
    folder that is missing, damaged, or of another kind, ConfigError for an option that does not fit. Use from
    one event loop or several.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 1,
        slots: int = 8,
        context_tokens: int | None = None,
        name: str | None = None,
    ) -> None:
        for option, value in (("threads", threads), ("slots", slots)):
            if value < 1:
                raise ConfigError(
                    f"option {option} of the language model is {value}; a whole number from 1 up fits"
                )
        manifest = check_manifest(folder)
        if manifest.kind != "llm":
            raise ModelError(f"{folder} holds a model of kind {manifest.kind!r}, not a language model")
        config = read_graph_config(folder)
        context = context_tokens or min(config.context_tokens, _CONTEXT_TOKENS)
        if context > config.context_tokens:
            raise ModelError(
                f"{manifest.id} takes {config.context_tokens} tokens, {context} were asked for;"
                " lower the setting"
            )
        self._name = name or manifest.id
        self._context_tokens = context
        self._format = ChatFormat(folder, config.end_ids)
        pieces = token_bytes(self._format.tokenizer, visible=TOOL_MARKS)
        self._vocabulary = Vocabulary(pieces, config.end_ids)
        # A longer text cannot fit whatever it says, even if normalisation joins four characters into
        # one: it is refused before it costs anything.
        self._max_chars = 4 * context * max(map(len, pieces))
        self._graph = Graph(folder, config, rows=slots, context_tokens=context, threads=threads)
        self._scheduler = Scheduler(self._graph, self._name)
        # Templates and tokenising take milliseconds for a long conversation: neither on the event loop,
        # nor in the model's thread, where the others' tokens would wait.
        self._text = ThreadPoolExecutor(1, thread_name_prefix=f"{self._name}-text")
        self._active = 0
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def active(self) -> int:
        return self._active

    @property
    def alive(self) -> bool:
        """Tell whether the model's thread runs; /health shows it."""
        return self._scheduler.alive

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    @property
    def takes_tools(self) -> bool:
        return self._format.takes_tools

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> int:
        """Count the tokens of the rendered conversation. Blocks about 1 ms for 3,000 characters."""
        return len(self._format.encode(messages, tools))

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        key: str,
        sampling: Sampling,
        priority: Priority = Priority.FIRST,
        tools: Sequence[dict[str, Any]] = (),
    ) -> AsyncGenerator[Piece, None]:
        """Yield the reply as it is made; see Llm.

        A stream of a conversation whose last one is still open follows it. With all slots taken it
        waits, by priority. The ids of a piece are those since the piece before, also of text held
        back. Raises TooLarge before the model does anything, EngineError when it fails or is shut down.
        """
        self._active += 1
        job: Job | None = None
        try:
            prompt = await self._encode(messages, tools, self._format.encode)
            limit = min(sampling.max_tokens, self._context_tokens - len(prompt))
            if limit < 1:
                yield Piece("", finish="length", usage=LlmUsage(len(prompt), 0, 0))
                return
            job = Job(key, prompt, priority, Reply(self._vocabulary, sampling, prompt, limit))
            self._scheduler.submit(job)
            calls = ToolCallReader() if tools else None
            while (piece := await job.next()) is not None:
                yield piece if calls is None else calls.read(piece)
                if piece.finish is not None:
                    return
        finally:
            self._active -= 1
            if job is not None:
                self._scheduler.cancel(job)

    async def prefill(
        self, messages: Sequence[Message], *, key: str, tools: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Bring a conversation into the cache, in what time is left; see Llm.

        Returns when that is done or given up: for a newer prompt of the conversation, for want of a row.
        Cancelling stops the model within a step; what was appended by then stays.
        """
        job: Job | None = None
        try:
            prompt = await self._encode(messages, tools, self._format.encode)
            job = Job(key, prompt, Priority.AHEAD)
            self._scheduler.submit(job)
            await job.next()
        except RiposteError:
            return
        finally:
            if job is not None:
                self._scheduler.cancel(job)

    async def turn_end(
        self,
        messages: Sequence[Message],
        *,
        key: str,
        priority: Priority = Priority.AHEAD,
        tools: Sequence[dict[str, Any]] = (),
    ) -> float | None:
        """Return how probable the token that ends a message is behind the user's last word; see Llm.

        Where the same words are in the cache to the last one, no step is made. None at once while a reply of
        the conversation is made or has been asked for, when a newer prompt of the conversation comes,
        for want of a row, and for a model whose template marks no end of a user's message. With
        Priority.FIRST it is as urgent as a reply's prompt. Cancelling stops the model within a step; what was
        appended by then stays.
        """
        job: Job | None = None
        try:
            words = await self._encode(messages, tools, self._format.encode_open)
            if words is None:
                return None
            job = Job(key, words, priority, watched=self._format.turn_end)
            self._scheduler.submit(job)
            await job.next()
            return job.chance
        except RiposteError:
            return None
        finally:
            if job is not None:
                self._scheduler.cancel(job)

    def forget(self, key: str) -> None:
        self._scheduler.forget(key)

    async def warm_up(self) -> None:
        if self._closed:
            raise EngineError(f"the {self._name} model was shut down")
        await asyncio.wrap_future(self._scheduler.warm_up())

    async def aclose(self) -> None:
        """End both threads; open streams get EngineError. May be called twice."""
        self._closed = True
        self._text.shutdown(wait=False)  # what it still encodes is refused by the scheduler
        thread = self._scheduler.close()
        if thread is not None:
            await asyncio.to_thread(thread.join, STOP_S)  # a step of the model at most
            if thread.is_alive():
                _log.error("%s: a step does not end; it is left behind", self._name)

    async def _encode(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        encode: Callable[[Sequence[Message], Sequence[Mapping[str, Any]]], Ids],
    ) -> Ids:
        """Return the prompt's ids, made in the text thread. Raises TooLarge if no reply fits behind it."""
        if self._closed:
            raise EngineError(f"the {self._name} model was shut down")
        if sum(map(_chars, messages)) > self._max_chars:
            raise self._too_large()
        loop = asyncio.get_running_loop()
        prompt = await loop.run_in_executor(self._text, encode, messages, tools)
        if prompt is not None and len(prompt) >= self._context_tokens:
            raise self._too_large()
        return prompt

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the conversation leaves no room for a reply in {self._context_tokens} tokens")


def _chars(message: Message) -> int:
    return len(message.content) + sum(len(use.arguments) for use in message.tool_calls)

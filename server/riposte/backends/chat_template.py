"""Turn a conversation into the tokens that a model was trained on.

The template is the model's own (`chat_template` in tokenizer_config.json, Jinja), rendered as
transformers renders it: same filters, same white space, in a sandbox that can change nothing.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray
from tokenizers import Tokenizer

from riposte.backends.tool_calls import TOOL_MARKS
from riposte.errors import EngineError, ModelError
from riposte.interfaces import Message

_MARKUP = re.compile(r"<\S+>|\[\S+\]")
_WORD = "Xylophone"  # which no template says itself
_PROBE = {"type": "function", "function": {"name": "probe", "parameters": {"type": "object"}}}

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"


class ChatFormat:
    """A model's tokenizer and chat template. Immutable once made: any thread may use it.

    `tokenizer` is the `tokenizers.Tokenizer`; `special` maps the texts of the special tokens to ids;
    `takes_tools` says whether the template shows tools to the model; `turn_end` is which of `end_ids`, the
    tokens that end a message, the template writes directly behind a user's words, or None.
    Raises ModelError when the folder lacks either file or the template does not compile.
    """

    def __init__(self, folder: Path, end_ids: Collection[int] = ()) -> None:
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            self.tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        except Exception as exc:  # tokenizers raises bare Exception
            raise ModelError(
                f"the tokenizer in {folder} cannot be read ({exc}); build the model again"
            ) from exc
        source = config.get("chat_template")
        if not isinstance(source, str):
            raise ModelError(f"{CONFIG_FILE} in {folder} has no chat_template; build the model again")
        self._constants = {
            name: _text_of(config[name])
            for name in ("bos_token", "eos_token", "pad_token", "unk_token")
            if config.get(name) is not None
        }
        added = self.tokenizer.get_added_tokens_decoder()
        self.special: dict[str, int] = {
            token.content: number for number, token in added.items() if token.special
        }
        # An added token is markup also where it is not special, as `<tool_call>` in Qwen2.5; white space
        # and plain words that somebody added to a vocabulary are not.
        markup = {token.content for token in added.values() if _MARKUP.fullmatch(token.content)}
        self._markup = sorted(markup.union(self.special, TOOL_MARKS))
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as exc:
            raise ModelError(f"the chat template in {folder} does not compile: {exc}") from exc
        self.takes_tools = self._shows_tools()
        self.turn_end = self._find_turn_end(end_ids)

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Return the prompt's text, with the generation prompt at its end.

        Control tokens and the marks of tool calls, written out in a message or a tool, are words: they get
        a space after their first character, so that nobody can end a message from inside and speak in
        another role, or forge a call or its result. Raises EngineError when the template refuses the
        conversation.
        """
        try:
            return self._template.render(
                messages=[self._plain(message) for message in messages],
                tools=[self._defused(tool) for tool in tools] or None,
                add_generation_prompt=True,
                **self._constants,
            )
        except Exception as exc:  # whatever a template's expressions raise; its text may quote the user
            raise EngineError("the model's chat template refuses this conversation") from exc

    def encode(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> NDArray[np.int64]:
        """Return the prompt's token ids, int64[n]. About 1 ms for 3,000 characters: not on the event loop."""
        text = self.render(messages, tools)
        # A batch of one, because `encode` holds the GIL (407 ms for 470,000 characters; so: 1 ms). The
        # template has written the special tokens already, a post-processor must not add its own.
        (encoding,) = self.tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return np.asarray(encoding.ids, np.int64)

    def encode_open(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> NDArray[np.int64] | None:
        """Return the ids of the prompt up to its last word, without `turn_end` and what follows it.

        None where the last message is no user's, or nothing marks its end.
        """
        if self.turn_end is None or not messages or messages[-1].role != "user":
            return None
        ids = self.encode(messages, tools)
        ends = np.flatnonzero(ids == self.turn_end)
        return ids[: ends[-1]] if ends.size and ends[-1] > 0 else None

    def _plain(self, message: Message) -> dict[str, Any]:
        plain: dict[str, Any] = {"role": message.role, "content": self._defuse(message.content)}
        if message.tool_calls:
            plain["tool_calls"] = [
                {
                    "id": use.call,
                    "type": "function",
                    "function": {
                        "name": self._defuse(use.name),
                        # Templates print arguments through `tojson`: text would be quoted twice.
                        "arguments": self._defused(_value(use.arguments)),
                    },
                }
                for use in message.tool_calls
            ]
        return plain

    def _defuse(self, text: str) -> str:
        for token in self._markup:
            if token in text:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def _defused(self, value: Any) -> Any:
        # As JSON without escapes, where a token stands as it would in the prompt, in keys too.
        text = _to_json(value)
        defused = self._defuse(text)
        return value if defused == text else json.loads(defused)

    def _shows_tools(self) -> bool:
        messages = (Message("system", "s"), Message("user", "u"))
        try:
            return self.render(messages, (_PROBE,)) != self.render(messages)
        except EngineError:
            return False

    def _find_turn_end(self, end_ids: Collection[int]) -> int | None:
        try:
            behind = self.render((Message("user", _WORD),)).rpartition(_WORD)[2]
        except EngineError:
            return None
        # Directly behind the word, for behind a line break the model would be sure of what follows; and
        # once, for otherwise a generation prompt would look like another end.
        for text, number in self.special.items():
            if number in end_ids and behind.startswith(text) and behind.count(text) == 1:
                return number
        return None


def _text_of(token: Any) -> str:
    # Older tokenizer_config.json files write a token as an object with its text in "content".
    return str(token["content"] if isinstance(token, dict) else token)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json  # jinja's own escapes HTML, models never saw that
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda pattern: datetime.datetime.now().strftime(pattern)
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)

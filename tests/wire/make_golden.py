"""Write the golden bytes of every frame, and the examples in docs/protocol.md, from the Structs themselves.

    .venv/bin/python tests/wire/make_golden.py

Run it after a change of the protocol, and read what git then shows. Bytes that changed stay under `older`:
clients in the field go on sending them, and test_golden.py wants every one of them to decode still.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from riposte.wire import frames as f
from riposte.wire.codec import encode, encode_json

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
PROTOCOL_MD = HERE.parents[1] / "docs" / "protocol.md"
BEGIN = "<!-- examples: written by tests/wire/make_golden.py -->\n"
END = "<!-- end of examples -->"

_TOOL = {"type": "function", "function": {"name": "set_light", "parameters": {"type": "object"}}}
_TIMING = f.Timing(
    clock="end",
    endpoint=0.5,
    asr=32.25,
    llm_first_token=38.5,
    tts_first_audio=61.0,
    first_audio_sent=61.25,
    audible=66.25,
    last_token=70.0,
    done=1490.0,
)

CLIENT: dict[str, f.ClientFrame] = {
    "hello": f.Hello(),
    "hello_settings": f.Hello(
        session="q1w2e3r4t5y6u7i8o9p0aa",
        audio_in_hz=48_000,
        audio_out_hz=24_000,
        voice="en-gb",
        language="en",
        instructions="Be brief.",
        modalities=["text", "audio"],
        turn_detection="none",
        patience=0.3,
        max_tokens=64,
        temperature=0.7,
        tools=[_TOOL],
    ),
    "hello_defaults_restored": f.Hello(voice=None, patience=None, tools=None),
    "audio": f.AudioIn(pcm=b"\x00\x00\x01\x00\xff\x7f\x00\x80"),
    "audio_empty": f.AudioIn(pcm=b""),
    "end": f.End(),
    "text": f.Text(text="Turn on the kitchen light – please."),
    "say": f.Say(text="Dinner is ready."),
    "say_voice": f.Say(text="Dinner is ready.", voice="en-us"),
    "cancel": f.Cancel(),
    "played": f.Played(turn=3, ms=1240),
    "tool_result": f.ToolResult(call="call_1", content='{"ok":true}'),
    "clear": f.Clear(),
    "mark": f.Mark(id=7),
}

SERVER: dict[str, f.ServerFrame] = {
    "ready": f.Ready(
        version=1,
        session="q1w2e3r4t5y6u7i8o9p0aa",
        resumed=False,
        audio_in_hz=16_000,
        audio_out_hz=22_050,
        models=f.ModelNames(asr="pico-hearing", llm="pico-thinking", tts="espeak-ng", vad="silero"),
        voices=["en-gb", "en-us"],
    ),
    "speech_started": f.Speech(state="started", at_ms=480),
    "speech_stopped": f.Speech(state="stopped", at_ms=2208),
    "transcript": f.Transcript(turn=1, text="turn on the kitchen", stable=11, final=False),
    "transcript_final": f.Transcript(turn=1, text="turn on the kitchen light", stable=25, final=True),
    "token": f.Token(turn=1, text="Okay"),
    "tool_call": f.ToolCall(
        turn=1, call="call_1", name="set_light", arguments='{"room":"kitchen","on":true}'
    ),
    "clause": f.Clause(turn=1, text="Okay, the kitchen light is on.", at_ms=0),
    "audio": f.AudioOut(turn=1, seq=0, pcm=b"\x00\x00\x01\x00\xff\x7f\x00\x80"),
    "playback": f.Playback(turn=1, gain=0.1),
    "playback_emptied": f.Playback(turn=1, gain=0.0),
    "done": f.Done(
        turn=1,
        reason="stop",
        heard_ms=1420,
        usage=f.Usage(prompt_tokens=41, cached_tokens=24, completion_tokens=9, audio_ms=1420),
        timing=_TIMING,
    ),
    "done_text_only": f.Done(
        turn=2,
        reason="length",
        heard_ms=None,
        usage=f.Usage(prompt_tokens=62, cached_tokens=50, completion_tokens=64),
        timing=f.Timing(clock="text", llm_first_token=6.5, last_token=90.0, done=90.25),
    ),
    "error": f.Error(code="bad_frame", message="Expected `int`, got `str` - at `$.turn`"),
    "error_turn": f.Error(code="engine", message="the voice failed; try again", turn=4),
    "mark": f.Mark(id=7),
}


def golden() -> dict[str, list[dict[str, Any]]]:
    """Encode every example; bytes that an earlier run wrote and this one would not are kept as `older`."""
    before = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    written: dict[str, list[dict[str, Any]]] = {}
    for side, examples in (("client", CLIENT), ("server", SERVER)):
        known = {entry["name"]: entry for entry in before.get(side, [])}
        gone = sorted(known.keys() - examples.keys())
        if gone:
            raise SystemExit(
                f"{side} examples {', '.join(gone)} are gone; a frame of version 1 cannot be taken back"
            )
        written[side] = [_entry(name, frame, known.get(name)) for name, frame in examples.items()]
    return written


def _entry(name: str, frame: f.ClientFrame | f.ServerFrame, known: dict[str, Any] | None) -> dict[str, Any]:
    entry = {"name": name, "msgpack": encode(frame).hex(), "json": encode_json(frame), "older": []}
    if known is not None:
        former = [*known["older"], known["msgpack"], known["json"]]
        entry["older"] = [
            each for each in dict.fromkeys(former) if each not in (entry["msgpack"], entry["json"])
        ]
    return entry


def examples_md() -> str:
    """Return the examples as Markdown: each frame as JSON, the short ones as MessagePack too."""
    lines = []
    for title, examples in (("From the client", CLIENT), ("From the server", SERVER)):
        lines += [f"### {title}", ""]
        for name, frame in examples.items():
            packed = encode(frame)
            pretty = encode_json(frame)
            if len(pretty) > 120:
                pretty = msgspec.json.format(pretty, indent=2)
            lines += [f"`{name}`, {len(packed)} bytes as MessagePack:", "", "```json", pretty, "```", ""]
            if len(packed) <= 32:
                lines += ["```text", packed.hex(" "), "```", ""]
    return "\n".join(lines)


def with_examples(document: str) -> str:
    """Return the protocol document with its examples replaced by those made now."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"docs/protocol.md has no place for the examples: {BEGIN.strip()} … {END}")
    return f"{head}{BEGIN}\n{examples_md()}\n{END}{tail}"


def main() -> None:
    text = json.dumps(golden(), indent=1, ensure_ascii=False) + "\n"
    GOLDEN.write_text(text)
    PROTOCOL_MD.write_text(with_examples(PROTOCOL_MD.read_text()))
    sys.stdout.write(f"{len(CLIENT)} client and {len(SERVER)} server examples written\n")


if __name__ == "__main__":
    main()

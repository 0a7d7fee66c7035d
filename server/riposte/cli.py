"""The `riposte` command. Each command imports what it needs when it runs, so that --help is quick.

Exit status: 0 done, 1 something failed, 2 bad configuration, 3 a model is missing or damaged, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import threading
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from riposte import __version__
from riposte.errors import ConfigError, ModelError, RiposteError

if TYPE_CHECKING:
    from riposte.config import Config, Loaded
    from riposte.interfaces import Asr, Tts
    from riposte.talk.device import Device

NATIVE_URL = "ws://127.0.0.1:8000/ws"

# argparse's name → the setting. What is not given stays None and changes nothing.
_SETTINGS = {
    "host": "server.host",
    "port": "server.port",
    "profile": "server.profile",
    "tls_cert": "server.tls_cert",
    "tls_key": "server.tls_key",
    "data": "server.data_dir",
    "record": "server.record_dir",
    "models": "server.models_dir",
    "fake": "server.fake",
    "drain_s": "server.drain_s",
    "log_level": "log.level",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        return status
    except RiposteError as exc:
        _say_wrong(str(exc))
        return 2 if isinstance(exc, ConfigError) else 3 if isinstance(exc, ModelError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain again when it flushes at exit.
        sys.stdout = None
        return 0


def _serve(arguments: argparse.Namespace) -> int:
    loaded = _load(arguments)
    if arguments.explain:
        rows = loaded.explain()
        wide, wider = (max(len(row[column]) for row in rows) for column in (0, 1))
        for name, value, source in rows:
            print(f"{name:{wide}}  {value:{min(wider, 40)}}  {source}")
        return 0
    from riposte import log
    from riposte.app import serve

    log.set_up(loaded.config.log.level, json=loaded.config.log.json)
    before = set(threading.enumerate())
    _run(serve(loaded.config, loaded.sources))
    if set(threading.enumerate()) - before:
        # A model in the middle of a step, or being loaded, would be taken apart under its own feet.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    from riposte.terminal import chat

    return asyncio.run(chat(arguments.url, key=_key(arguments), session=arguments.session, ca=arguments.ca))


def _talk(arguments: argparse.Namespace) -> int:
    from riposte.talk.device import SoundCard, list_devices
    from riposte.talk.files import SoundFiles
    from riposte.talk.talk import talk

    if arguments.list_devices:
        print("\n".join(list_devices()))
        return 0
    if arguments.wav_in is not None:
        device: Device = SoundFiles(arguments.wav_in, arguments.wav_out)
    elif arguments.wav_out is not None:
        raise RiposteError("--wav-out goes with --wav-in: files in the place of both devices")
    else:
        device = SoundCard(arguments.input, arguments.output)
    talking = talk(
        arguments.url,
        device,
        key=_key(arguments),
        ca=arguments.ca,
        session=arguments.session,
        voice=arguments.voice,
        push_to_talk=arguments.push_to_talk,
    )
    return asyncio.run(talking)


def _key(arguments: argparse.Namespace) -> str | None:
    """Return the key to show; this machine's own goes to no other server."""
    from urllib.parse import urlsplit

    from riposte.client.link import native_url
    from riposte.config import is_loopback

    if arguments.key is not None:
        return str(arguments.key)
    server, host = _load(arguments).config.server, urlsplit(native_url(arguments.url)).hostname or ""
    own = {server.host.strip("[]"), *(name.partition(":")[0] for name in server.hosts)}
    return next(iter(server.keys), None) if is_loopback(host) or host in map(str.lower, own) else None


def _say(arguments: argparse.Namespace) -> int:
    output: Path = arguments.output
    wav: bytes = _run(_speak(_load(arguments).config, arguments.text, arguments.voice))
    if str(output) == "-":
        sys.stdout.buffer.write(wav)
        return 0
    try:
        output.write_bytes(wav)
    except OSError as exc:
        raise RiposteError(f"{output} cannot be written: {exc.strerror or exc}") from exc
    return 0


async def _speak(config: Config, text: str, voice: str | None) -> bytes:
    import numpy as np

    from riposte.app import open_models
    from riposte.audio import wav_bytes
    from riposte.config import load_profile
    from riposte.turn.chunker import Chunker

    async with open_models(config, load_profile(config), ("tts",)) as models:
        tts = cast("Tts", models["tts"])
        chunker = Chunker()
        pieces = [np.zeros(0, np.int16)]
        for clause in [*chunker.push(text), chunker.finish()]:
            if clause is not None:
                async with aclosing(tts.speak(clause, voice=voice or tts.voices[0].id)) as sound:
                    pieces += [pcm async for pcm in sound]
        return wav_bytes(np.concatenate(pieces), tts.rate_hz)


def _transcribe(arguments: argparse.Namespace) -> int:
    status: int = _run(_listen(_load(arguments).config, arguments.files))
    return status


async def _listen(config: Config, files: list[Path]) -> int:
    from riposte.app import open_models
    from riposte.audiofile import UnreadableSound, read_16k
    from riposte.config import load_profile

    failed = 0
    async with open_models(config, load_profile(config), ("asr",)) as models:
        asr = cast("Asr", models["asr"])
        for path in files:
            utterance = asr.listen()
            try:
                for block in read_16k(path):
                    utterance.push(block)
                print((await utterance.transcribe()).text, flush=True)
            except UnreadableSound as exc:
                _say_wrong(f"{path}: {exc}")
                failed += 1
            finally:
                utterance.close()
    return 1 if failed else 0


def _replay(arguments: argparse.Namespace) -> int:
    from riposte.replay.command import replay

    return replay(
        arguments.file,
        _load(arguments).config,
        own_profile=arguments.profile is not None or bool(arguments.fake),
        own_settings=arguments.own_settings,
        real_time=arguments.real_time,
    )


def _models(arguments: argparse.Namespace) -> int:
    from riposte.inventory import describe_models

    for line in describe_models(_load(arguments).config):
        print(line)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from riposte.app import open_tls
    from riposte.inventory import check_models

    loaded = _load(arguments)
    if open_tls(loaded.config, loaded.sources) is not None:
        print(f"ok  https with {loaded.config.server.tls_cert}", flush=True)
    for line in check_models(loaded.config):
        print(line, flush=True)
    return 0


def _load(arguments: argparse.Namespace) -> Loaded:
    from riposte.config import load_config

    flags = {setting: getattr(arguments, name, None) for name, setting in _SETTINGS.items()}
    return load_config(arguments.config, None, flags)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.run(work)
    return uvloop.run(work)


def _say_wrong(sentence: str) -> None:
    print(f"riposte: {sentence}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML")
    settings.add_argument("--models", metavar="DIR", help="where profiles and models are")
    profile = argparse.ArgumentParser(add_help=False, parents=[settings])
    profile.add_argument(
        "--profile", metavar="NAME", help="the models to use (the ones built last, else pico)"
    )
    profile.add_argument("--fake", action="store_const", const=True, help="models that only pretend, at once")

    server = argparse.ArgumentParser(add_help=False)
    server.add_argument("--url", default=NATIVE_URL, help=f"the server's address ({NATIVE_URL})")
    server.add_argument("--session", metavar="ID", help="go on with this session")
    server.add_argument("--key", help="the server's key (for this machine's own, the first of server.keys)")
    server.add_argument(
        "--ca", type=Path, metavar="FILE", help="trust this certificate (PEM), for wss:// and https://"
    )

    parser = argparse.ArgumentParser(
        prog="riposte",
        description="A speech and language server that answers within the human gap.",
        epilog=_examples("riposte serve", "riposte chat", "riposte check"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"riposte {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, run: Any, text: str, *examples: str, parents: Any = (profile,)
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_examples(*examples),
            parents=parents,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    serve = add(
        "serve",
        _serve,
        "serve until Ctrl-C or SIGTERM",
        "riposte serve",
        "riposte serve --fake --port 0",
        "riposte serve --config riposte.toml --explain",
        "riposte serve --config riposte.toml --host 0.0.0.0 --tls-cert home.pem --tls-key home-key.pem",
    )
    serve.add_argument("--host", help="the address to listen on (127.0.0.1); others need a key")
    serve.add_argument("--port", type=int, help="the port (8000); 0 takes any free one")
    serve.add_argument("--tls-cert", metavar="FILE", help="serve https with this certificate (PEM)")
    serve.add_argument("--tls-key", metavar="FILE", help="the certificate's key (PEM, not encrypted)")
    serve.add_argument("--data", metavar="DIR", help="where sessions are kept")
    serve.add_argument("--record", metavar="DIR", help="record every talk, speech included, for `replay`")
    serve.add_argument(
        "--drain-s", type=float, metavar="S", help="what turns in progress get at the end (10)"
    )
    serve.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (info)")
    serve.add_argument("--explain", action="store_true", help="show each setting and its origin, and stop")

    add(
        "chat",
        _chat,
        "type with a server that runs",
        "riposte chat",
        "riposte chat --url https://192.168.1.5:8000 --ca home.pem --key KEY",
        "echo 'what is two plus two' | riposte chat",
        parents=[settings, server],
    )

    talk = add(
        "talk",
        _talk,
        "talk with a server that runs, by microphone and loudspeaker",
        "riposte talk",
        "riposte talk --push-to-talk --input headset --output headset",
        "riposte talk --wav-in question.wav --wav-out answer.wav",
        parents=[settings, server],
    )
    talk.add_argument("--push-to-talk", action="store_true", help="Enter begins and ends what you say")
    talk.add_argument("--voice", metavar="ID", help="one of the server's voices (its first)")
    talk.add_argument(
        "--list-devices", action="store_true", help="show microphones and loudspeakers, and stop"
    )
    talk.add_argument("--input", metavar="NAME", help="the microphone: its number, or part of its name")
    talk.add_argument("--output", metavar="NAME", help="the loudspeaker, likewise")
    talk.add_argument("--wav-in", type=Path, metavar="FILE", help="hear this WAV file instead")
    talk.add_argument("--wav-out", type=Path, metavar="FILE", help="speak into this WAV file instead")

    say = add(
        "say",
        _say,
        "speak a text into a WAV file, without a server",
        "riposte say 'Dinner is ready.' -o dinner.wav",
        "riposte say Hello -o - | aplay",
    )
    say.add_argument("text", metavar="TEXT")
    say.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="'-' is standard output"
    )
    say.add_argument("--voice", metavar="ID", help="one of the profile's voices (its first)")

    transcribe = add(
        "transcribe",
        _transcribe,
        "write down what sound files say, one line each, without a server",
        "riposte transcribe question.wav",
        "riposte transcribe *.flac > words.txt",
    )
    transcribe.add_argument("files", nargs="+", type=Path, metavar="FILE", help="WAV, FLAC, OGG; any rate")

    replay = add(
        "replay",
        _replay,
        "decide a recorded talk again, and show where its time went; status 1 when it is decided otherwise",
        "riposte replay talks/20261124T101500-x3Bq9A.riposte",
        "riposte replay question.wav --real-time",
    )
    replay.add_argument("file", type=Path, metavar="FILE", help="of `serve --record`; or WAV, FLAC, OGG")
    replay.add_argument(
        "--real-time", action="store_true", help="at the speed of speech, so that the models' times are seen"
    )
    replay.add_argument(
        "--own-settings", action="store_true", help="decide by the settings of here, not by those recorded"
    )

    add("models", _models, "list the profiles that are there", "riposte models")
    add(
        "check",
        _check,
        "check settings and models, and say what to type next",
        "riposte check",
        "riposte check --profile pico",
    )
    return parser


def _examples(*lines: str) -> str:
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

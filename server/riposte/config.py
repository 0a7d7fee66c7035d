"""Settings: defaults, then a TOML file, then RIPOSTE_<SECTION>_<KEY>, then flags; the last one wins.

The only module that reads the environment. Parts of the server take plain values out of `Config`.
Every refusal names the setting, where it came from and what fits. Profiles are read here too: which
back end plays each role, with which model folder.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, inspect

from riposte.errors import ConfigError

Count = Annotated[int, Meta(ge=1)]
Ms = Annotated[int, Meta(ge=0, le=10_000)]
Seconds = Annotated[float, Meta(gt=0)]

INSTRUCTIONS = "You are Riposte, a helpful voice assistant. Answer in one or two short spoken sentences."


class Server(msgspec.Struct, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8000  # 0: any free one
    profile: str | None = None  # None: the one built last, else pico
    models_dir: str | None = None  # None: the checkout's, else ~/.local/share/riposte/models
    data_dir: str | None = None
    keys: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()  # "https://home.example", beside the server's own
    hosts: tuple[str, ...] = ()  # "home.example" or "home.example:8000", beside the server's own
    tls_cert: str | None = None  # PEM files, both or neither
    tls_key: str | None = None
    start_deadline_s: Seconds = 900.0  # a big model off a slow disk takes minutes
    drain_s: Annotated[float, Meta(ge=0)] = 10.0
    record_dir: str | None = None  # None: nothing is recorded
    record_mib: Count = 1024  # all recordings together
    fake: bool = False


class Limits(msgspec.Struct, frozen=True):
    sessions: Count = 64
    sockets: Count = 256
    text_chars: Count = 4000
    tools_chars: Count = 16_000  # of a session's tools, as JSON
    audio_waiting_s: Seconds = 120.0
    audio_total_s: Seconds = 1200.0
    turns_per_minute: Count = 600
    first_clause_wait_ms: Ms = 50  # for turns in front; 0: nobody is refused
    requests_per_minute: Count = 1200
    wrong_keys_per_minute: Count = 20
    message_bytes: Annotated[int, Meta(ge=65_536)] = 1 << 20  # a second of 16-bit audio at 32 kHz must fit
    idle_s: Seconds = 900.0
    session_kept_s: Annotated[float, Meta(ge=0)] = 3600.0
    slow_client_s: Seconds = 10.0
    outbox_bytes: Annotated[int, Meta(ge=65_536)] = 1 << 20


class History(msgspec.Struct, frozen=True):
    enabled: bool = True
    required: bool = True  # false: go on without when the disk cannot be written to
    kept_days: Annotated[float, Meta(gt=0, le=36_500)] = 30.0
    sessions: Count = 1000
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000)] = 100


class Turn(msgspec.Struct, frozen=True):
    silence_min_ms: Ms = 120  # no shorter silence ends a turn, however finished the words
    silence_max_ms: Ms = 1000  # no turn outlasts a longer one
    pause_ms: Ms = 72  # silence after which an answer is prepared
    speculate: bool = True  # prepare a whole reply, not the words alone
    drafts_per_second: Annotated[int, Meta(ge=0, le=100)] = 4
    echo_gate: bool = True  # take the reply's own sound out of what the microphone hears
    join_ms: Ms = 1000  # speech so soon after a reply's beginning goes on with what it answered
    min_speech_ms: Ms = 96
    pre_roll_ms: Ms = 300
    stalled_ms: Annotated[int, Meta(ge=1, le=10_000)] = 400
    ahead_ms: Annotated[int, Meta(ge=1, le=10_000)] = 300
    asr_deadline_s: Seconds = 20.0
    llm_deadline_s: Seconds = 30.0  # without a token
    tts_deadline_s: Seconds = 20.0
    stop_deadline_s: Seconds = 2.0  # for a model that was told to stop
    tool_deadline_s: Seconds = 30.0  # without the client's result
    tool_rounds: Count = 8  # in which a turn may ask for tools


class LlmDefaults(msgspec.Struct, frozen=True):
    instructions: str = INSTRUCTIONS  # "": none
    max_tokens: Count = 256
    temperature: Annotated[float, Meta(ge=0, le=5)] = 0.0


class Log(msgspec.Struct, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    json: bool = False


class Config(msgspec.Struct, frozen=True):
    """Everything that can be set. The paths are resolved by the properties."""

    server: Server = Server()
    limits: Limits = Limits()
    history: History = History()
    turn: Turn = Turn()
    llm: LlmDefaults = LlmDefaults()
    log: Log = Log()

    @property
    def data_dir(self) -> Path:
        """Where conversations are kept."""
        given = self.server.data_dir
        return Path(given).expanduser() if given is not None else Path.home() / ".local/share/riposte"

    @property
    def models_dir(self) -> Path:
        """Where profiles and built models are."""
        if self.server.models_dir is not None:
            return Path(self.server.models_dir).expanduser()
        checkout = Path(__file__).resolve().parents[2] / "onnx_models"
        return checkout if checkout.is_dir() else Path.home() / ".local/share/riposte/models"


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who plays a role: a back end's name, its model's folder beside the profile, and its options."""

    backend: str
    folder: str | None = None
    options: dict[str, Any] = {}


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of models that are served together: `<models_dir>/<name>/profile.toml`."""

    name: str
    asr: Part
    llm: Part
    tts: Part
    vad: Part
    turn: Part | None = None  # none hears whether a turn is over: the words alone say

    def parts(self) -> dict[str, Part]:
        """Return the parts by their role."""
        parts = {"asr": self.asr, "llm": self.llm, "tts": self.tts, "vad": self.vad}
        return parts if self.turn is None else parts | {"turn": self.turn}


FAKE_PROFILE = Profile("fake", Part("fake"), Part("fake"), Part("fake"), Part("fake"))


class Loaded:
    """A configuration, and for each setting where its value came from."""

    def __init__(self, config: Config, sources: Mapping[str, str]) -> None:
        self.config = config
        self._sources = sources

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each setting that was given came from, by its name."""
        return self._sources

    def explain(self) -> list[tuple[str, str, str]]:
        """List every setting as name, value and source. Keys are counted, never shown."""
        rows = []
        for name in _SETTINGS:
            section, _, key = name.partition(".")
            value = getattr(getattr(self.config, section), key)
            shown = f"({len(value)} hidden)" if name == "server.keys" and value else _show(value)
            rows.append((name, shown, self._sources.get(name, "default")))
        return rows


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """Merge the file, the environment (None: this process's) and the flags; None in a flag is absent.

    Flags are named like settings ("server.port"). Raises ConfigError.
    """
    given: dict[str, tuple[object, str]] = {}
    if path is not None:
        given |= _from_file(path)
    given |= _from_environment(os.environ if environ is None else environ)
    for name, value in (flags or {}).items():
        if value is not None:
            _check_known(name, _SETTINGS, "flag")
            source = _FLAGS.get(name, "--" + name.partition(".")[2].replace("_", "-"))
            given[name] = (_converted(name, value, source), source)
    sections: dict[str, dict[str, object]] = {name: {} for name in _SECTIONS}
    for name, (value, _) in given.items():
        section, _, key = name.partition(".")
        sections[section][key] = value
    config = msgspec.convert(sections, Config)
    sources = {name: source for name, (_, source) in given.items()}
    _check_together(config, sources)
    return Loaded(config, sources)


def profile_names(config: Config) -> list[str]:
    """List the profiles that are there, sorted."""
    return sorted(path.parent.name for path in config.models_dir.glob("*/profile.toml"))


def load_profile(config: Config) -> Profile:
    """Read the chosen profile; by default the one built last, else pico. Raises ConfigError."""
    if config.server.fake:
        return FAKE_PROFILE
    name = config.server.profile or _last_built(config) or "pico"
    path = config.models_dir / name / "profile.toml"
    if name != Path(name).name or not path.is_file():
        names = profile_names(config)
        there = f"known: {', '.join(names)}" if names else "none is there; run `make engines`"
        raise ConfigError(f"no profile {_show(name)} in {config.models_dir}{_nearest(name, names)}; {there}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert({"name": name} | table, Profile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, OSError, UnicodeError) as exc:
        raise ConfigError(f"{path} cannot be used: {exc}") from exc


def part_folder(config: Config, profile: Profile, part: Part) -> Path | None:
    """Return the folder of a part's model; None for a back end that needs none."""
    return None if part.folder is None else config.models_dir / profile.name / part.folder


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server bound to this address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.name: cast("type[msgspec.Struct]", type(field.default)) for field in msgspec.structs.fields(Config)
}
_SETTINGS: dict[str, Any] = {
    f"{section}.{field.name}": field.type
    for section, struct in _SECTIONS.items()
    for field in msgspec.structs.fields(struct)
}
# Of the tests, and what Kubernetes sets in every container beside a service that is called "riposte".
_NOT_SETTINGS = re.compile(r"RIPOSTE_(TEST_|SERVICE_(HOST|PORT)\b|SERVICE_PORT_|PORT_\d+_|PORT=\w+://)")
_FLAGS = {
    "server.data_dir": "--data",
    "server.models_dir": "--models",
    "server.record_dir": "--record",
    "log.level": "--log-level",
}


def _from_file(path: Path) -> dict[str, tuple[object, str]]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except (tomllib.TOMLDecodeError, UnicodeError) as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    given = {}
    for section, values in table.items():
        _check_known(section, _SECTIONS, f"in {path}")
        if not isinstance(values, dict):
            raise ConfigError(f"{section} in {path} is {_show(values)}; a section [{section}] fits")
        for key, value in values.items():
            name = f"{section}.{key}"
            _check_known(name, _SETTINGS, f"in {path}")
            given[name] = (_converted(name, value, str(path)), str(path))
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    variables = {"RIPOSTE_" + name.replace(".", "_").upper(): name for name in _SETTINGS}
    prefixes = tuple(f"RIPOSTE_{section.upper()}_" for section in _SECTIONS)
    given = {}
    for variable in sorted(environ):
        if not variable.startswith("RIPOSTE_") or _NOT_SETTINGS.match(f"{variable}={environ[variable]}"):
            continue
        if not variable.startswith(prefixes):
            raise ConfigError(f"{variable} in the environment is unknown{_meant(variable, variables)}")
        _check_known(variable, variables, "in the environment")
        name, text = variables[variable], environ[variable]
        given[name] = (_converted(name, _parsed(text, _SETTINGS[name]), variable), variable)
    return given


def _meant(variable: str, variables: Mapping[str, str]) -> str:
    """Say which variable one of no section is likely to stand for: RIPOSTE_PORT lacks its section."""
    rest = variable.removeprefix("RIPOSTE_")
    keys = {name.partition(".")[2].upper(): known for known, name in variables.items()}
    whole = {known.removeprefix("RIPOSTE_"): known for known in variables}
    for names in (keys, whole):
        if near := difflib.get_close_matches(rest, names, 1):
            return f"; did you mean {names[near[0]]}?"
    return f"; RIPOSTE_<SECTION>_<KEY> fits, with a section of {', '.join(_SECTIONS).upper()}"


def _parsed(text: str, kind: Any) -> object:
    """Read a variable's text as what its setting holds; text that does not fit stays text."""
    info = inspect.type_info(kind)
    if isinstance(info, inspect.VarTupleType):
        return [item.strip() for item in text.split(",") if item.strip()]
    if isinstance(info, inspect.UnionType):
        return text or None  # a variable set to nothing is a setting not set
    if isinstance(info, inspect.BoolType):
        return {"1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)
    if isinstance(info, inspect.IntType | inspect.FloatType):
        try:
            return json.loads(text)
        except ValueError:
            pass
    return text


def _converted(name: str, value: object, source: str) -> object:
    kind = _SETTINGS[name]
    try:
        fitting: object = msgspec.convert(value, kind)
        if not (isinstance(fitting, float) and not math.isfinite(fitting)):
            return fitting
    except msgspec.ValidationError:
        pass
    shown = "not usable" if name == "server.keys" else _show(value)
    raise ConfigError(f"{name} from {source} is {shown}; {_fits(inspect.type_info(kind))} fits")


def _fits(info: inspect.Type) -> str:
    if isinstance(info, inspect.UnionType):
        return _fits(next(kind for kind in info.types if not isinstance(kind, inspect.NoneType)))
    if isinstance(info, inspect.LiteralType):
        return " or ".join(_show(value) for value in info.values)
    if isinstance(info, inspect.IntType | inspect.FloatType):
        noun = "a whole number" if isinstance(info, inspect.IntType) else "a number"
        if info.gt is not None:
            return f"{noun} above {info.gt:g}"
        return f"{noun} from {info.ge} to {info.le}" if info.le is not None else f"{noun} from {info.ge} up"
    if isinstance(info, inspect.VarTupleType):
        return "a list of texts"
    return "true or false" if isinstance(info, inspect.BoolType) else "a text"


def _check_known(name: str, known: Iterable[str], where: str) -> None:
    names = list(known)
    if name not in names:
        hint = _nearest(name, names) or f"; known: {', '.join(names)}"
        raise ConfigError(f"{name} {where} is unknown{hint}")


def _check_together(config: Config, sources: Mapping[str, str]) -> None:
    server = config.server
    if not is_loopback(server.host) and not server.keys:
        source = sources.get("server.host", "default")
        raise ConfigError(
            f"server.host from {source} is {_show(server.host)}, which others can reach, and server.keys "
            "is empty; set a key, or 127.0.0.1 fits"
        )
    for given, lacking in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(server, given) is not None and getattr(server, lacking) is None:
            raise ConfigError(
                f"server.{given} from {sources[f'server.{given}']} is {_show(getattr(server, given))}, and "
                f"server.{lacking} is not set; TLS needs both: set --{lacking.replace('_', '-')}, or neither"
            )
    if any(len(key) < 16 or not key.isascii() for key in server.keys):
        raise ConfigError(
            f"server.keys from {sources['server.keys']} holds one that is too short or not ASCII; "
            "at least 16 ASCII characters fit"
        )


def _last_built(config: Config) -> str | None:
    try:
        return (config.models_dir / "last_built").read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeError):
        return None


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _show(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

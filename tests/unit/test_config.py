"""Settings: which one wins, and the sentence for each way to get one wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from riposte.config import (
    FAKE_PROFILE,
    Config,
    load_config,
    load_profile,
    part_folder,
    profile_names,
)
from riposte.errors import ConfigError

KEY = "a key of sixteen characters"
PROFILE = """
[asr]
backend = "whisper"
folder = "hearing"
[llm]
backend = "onnx"
folder = "thinking"
options = { threads = 2 }
[tts]
backend = "espeak"
[vad]
backend = "silero"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "riposte.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None = None, environ: dict | None = None, flags: dict | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {}, flags)
    return str(caught.value)


def models(folder: Path, *names: str, last: str | None = None) -> dict[str, str]:
    for name in names:
        (folder / name).mkdir()
        (folder / name / "profile.toml").write_text(PROFILE)
    if last is not None:
        (folder / "last_built").write_text(f"{last}\n")
    return {"RIPOSTE_SERVER_MODELS_DIR": str(folder)}


def test_without_anything_the_defaults_hold() -> None:
    loaded = load_config(None, {})
    assert loaded.config == Config()
    assert {source for _, _, source in loaded.explain()} == {"default"}


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[server]\nport = 1\ndrain_s = 2\n[limits]\nsessions = 3\n")
    environ = {"RIPOSTE_SERVER_PORT": "11", "RIPOSTE_SERVER_DRAIN_S": "12"}
    loaded = load_config(path, environ, {"server.port": 21, "server.fake": None})
    config = loaded.config
    assert (config.server.port, config.server.drain_s, config.limits.sessions) == (21, 12.0, 3)
    told = {name: (value, source) for name, value, source in loaded.explain()}
    assert told["server.port"] == ("21", "--port")
    assert told["server.drain_s"] == ("12.0", "RIPOSTE_SERVER_DRAIN_S")
    assert told["limits.sessions"] == ("3", str(path))
    assert told["server.fake"] == ("false", "default")


def test_every_setting_is_explained_once() -> None:
    names = [name for name, _, _ in load_config(None, {}).explain()]
    sections = [getattr(Config(), section) for section in Config.__struct_fields__]
    assert len(names) == len(set(names)) == sum(len(section.__struct_fields__) for section in sections)


def test_keys_are_never_shown() -> None:
    loaded = load_config(None, {"RIPOSTE_SERVER_KEYS": f"{KEY}, another key that is long"})
    assert loaded.config.server.keys == (KEY, "another key that is long")
    told = [row for row in loaded.explain() if row[0] == "server.keys"]
    assert told == [("server.keys", "(2 hidden)", "RIPOSTE_SERVER_KEYS")]
    wrong = refusal(environ={"RIPOSTE_SERVER_KEYS": "too short"})
    assert "too short or" in wrong
    assert wrong.count("too short") == 1


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("RIPOSTE_SERVER_FAKE", "True", True),
        ("RIPOSTE_SERVER_FAKE", "0", False),
        ("RIPOSTE_SERVER_PROFILE", "cpu", "cpu"),
        ("RIPOSTE_SERVER_PROFILE", "", None),
        ("RIPOSTE_SERVER_ORIGINS", "https://a.b, https://c.d", ("https://a.b", "https://c.d")),
        ("RIPOSTE_SERVER_HOSTS", "", ()),
        ("RIPOSTE_LLM_INSTRUCTIONS", "", ""),
        ("RIPOSTE_LLM_INSTRUCTIONS", "12", "12"),
        ("RIPOSTE_LLM_TEMPERATURE", "1", 1.0),
        ("RIPOSTE_LOG_LEVEL", "debug", "debug"),
    ],
)
def test_a_variable_is_read_as_what_its_setting_holds(variable: str, text: str, value: object) -> None:
    section, _, key = variable.removeprefix("RIPOSTE_").lower().partition("_")
    config = load_config(None, {variable: text}).config
    assert getattr(getattr(config, section), key) == value


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        ("RIPOSTE_SERVER_PORT", "abc", '"abc"; a whole number from 0 to 65535 fits'),
        ("RIPOSTE_SERVER_PORT", "70000", "70000; a whole number from 0 to 65535 fits"),
        ("RIPOSTE_SERVER_PORT", "true", "true; a whole number from 0 to 65535 fits"),
        ("RIPOSTE_SERVER_PORT", "", '""; a whole number from 0 to 65535 fits'),
        ("RIPOSTE_SERVER_FAKE", "maybe", '"maybe"; true or false fits'),
        ("RIPOSTE_SERVER_DRAIN_S", "Infinity", "Infinity; a number from 0 up fits"),
        ("RIPOSTE_LIMITS_IDLE_S", "0", "0; a number above 0 fits"),
        ("RIPOSTE_LIMITS_SESSIONS", "0", "0; a whole number from 1 up fits"),
        ("RIPOSTE_LLM_TEMPERATURE", "NaN", "NaN; a number from 0 to 5 fits"),
        (
            *("RIPOSTE_SERVER_HOST", "0.0.0.0"),
            '"0.0.0.0", which others can reach, and server.keys is empty; set a key, or 127.0.0.1 fits',
        ),
    ],
)
def test_a_variable_that_does_not_fit_is_refused(variable: str, text: str, why: str) -> None:
    setting = variable.removeprefix("RIPOSTE_").lower().replace("_", ".", 1)
    assert refusal(environ={variable: text}) == f"{setting} from {variable} is {why}"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("RIPOSTE_SERVER_PRT", "RIPOSTE_SERVER_PORT"),
        ("RIPOSTE_TURN_SILENCE", "RIPOSTE_TURN_SILENCE_MIN_MS"),
        ("RIPOSTE_LOG_JSONL", "RIPOSTE_LOG_JSON"),
    ],
)
def test_a_variable_that_is_misspelt_is_refused(variable: str, meant: str) -> None:
    expected = f"{variable} in the environment is unknown; did you mean {meant}?"
    assert refusal(environ={variable: "1"}) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[server]\nprt = 1", "server.prt in {path} is unknown; did you mean server.port?"),
        ("[serve]\nport = 1", "serve in {path} is unknown; did you mean server?"),
        ("[zzz]\nport = 1", "zzz in {path} is unknown; known: server, limits, history, turn, llm, log"),
        ("server = 3", "server in {path} is 3; a section [server] fits"),
        ("[turn]\nahead_ms = 0", "turn.ahead_ms from {path} is 0; a whole number from 1 to 10000 fits"),
        ("[limits]\nsessions = 1.5", "limits.sessions from {path} is 1.5; a whole number from 1 up fits"),
        ("[server]\nport = '1'", 'server.port from {path} is "1"; a whole number from 0 to 65535 fits'),
        ("[server]\nkeys = 'my secret'", "server.keys from {path} is not usable; a list of texts fits"),
        ("[server]\nprofile = 7", "server.profile from {path} is 7; a text fits"),
        ("x =", "{path} is not TOML: Invalid value (at end of document)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    assert refusal(path) == sentence.format(path=path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert refusal(path) == f"{path} cannot be read: No such file or directory"


def test_a_flag_that_does_not_fit_is_refused_by_its_name() -> None:
    expected = 'log.level from --log-level is "loud"; "debug" or "error" or "info" or "warning" fits'
    assert refusal(flags={"log.level": "loud"}) == expected


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("RIPOSTE_PORT", "RIPOSTE_SERVER_PORT"),
        ("RIPOSTE_KEY", "RIPOSTE_SERVER_KEYS"),
        ("RIPOSTE_MODELS", "RIPOSTE_SERVER_MODELS_DIR"),
        ("RIPOSTE_SERVE_PORT", "RIPOSTE_SERVER_PORT"),
        ("RIPOSTE_LOGLEVEL", "RIPOSTE_LOG_LEVEL"),
        ("RIPOSTE_MAX_TOKENS", "RIPOSTE_LLM_MAX_TOKENS"),
    ],
)
def test_a_variable_without_its_section_is_refused(variable: str, meant: str) -> None:
    expected = f"{variable} in the environment is unknown; did you mean {meant}?"
    assert refusal(environ={variable: "9000"}) == expected


@pytest.mark.parametrize("variable", ["RIPOSTE_HOME", "RIPOSTE_", "RIPOSTE_LLM"])
def test_a_variable_like_no_setting_is_refused_with_what_fits(variable: str) -> None:
    assert refusal(environ={variable: "x"}) == (
        f"{variable} in the environment is unknown; RIPOSTE_<SECTION>_<KEY> fits, "
        "with a section of SERVER, LIMITS, HISTORY, TURN, LLM, LOG"
    )


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SERVER_PORT", "y"),
        ("RIPOSTE_TEST_LLM", "a folder"),
        ("RIPOSTE_PORT", "tcp://10.0.0.1:8000"),  # this and the rest: Kubernetes, of a service "riposte"
        ("RIPOSTE_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("RIPOSTE_SERVICE_HOST", "10.0.0.1"),
        ("RIPOSTE_SERVICE_PORT", "8000"),
        ("RIPOSTE_SERVICE_PORT_HTTP", "8000"),
    ],
)
def test_other_variables_are_none_of_ours(variable: str, text: str) -> None:
    assert load_config(None, {variable: text}).config == Config()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_key(host: str) -> None:
    assert load_config(None, {"RIPOSTE_SERVER_HOST": host}).config.server.host == host


def test_with_a_key_any_address_is_served() -> None:
    environ = {"RIPOSTE_SERVER_HOST": "::", "RIPOSTE_SERVER_KEYS": KEY}
    assert load_config(None, environ).config.server.host == "::"


def test_the_profile_built_last_is_served_else_pico(tmp_path: Path) -> None:
    environ = models(tmp_path, "pico", "cpu")
    assert profile_names(load_config(None, environ).config) == ["cpu", "pico"]
    assert load_profile(load_config(None, environ).config).name == "pico"
    (tmp_path / "last_built").write_text("cpu\n")
    assert load_profile(load_config(None, environ).config).name == "cpu"
    chosen = load_config(None, environ, {"server.profile": "pico"}).config
    assert load_profile(chosen).name == "pico"


def test_a_profile_names_its_parts_and_their_folders(tmp_path: Path) -> None:
    config = load_config(None, models(tmp_path, "pico")).config
    profile = load_profile(config)
    assert profile.llm.backend == "onnx"
    assert profile.llm.options == {"threads": 2}
    assert part_folder(config, profile, profile.llm) == tmp_path / "pico" / "thinking"
    assert part_folder(config, profile, profile.vad) is None
    assert list(profile.parts()) == ["asr", "llm", "tts", "vad"]


def test_fakes_need_no_files(tmp_path: Path) -> None:
    environ = {"RIPOSTE_SERVER_MODELS_DIR": str(tmp_path), "RIPOSTE_SERVER_FAKE": "true"}
    assert load_profile(load_config(None, environ).config) is FAKE_PROFILE


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("pcio", '"pcio" in {folder}; did you mean pico?; known: cpu, pico'),
        ("../pico", '"../pico" in {folder}; did you mean pico?; known: cpu, pico'),
        ("rtx4090", '"rtx4090" in {folder}; known: cpu, pico'),
    ],
)
def test_an_unknown_profile_is_refused(tmp_path: Path, name: str, tail: str) -> None:
    environ = models(tmp_path, "pico", "cpu") | {"RIPOSTE_SERVER_PROFILE": name}
    with pytest.raises(ConfigError) as caught:
        load_profile(load_config(None, environ).config)
    assert str(caught.value) == f"no profile {tail.format(folder=tmp_path)}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[asr", "Expected ']'"),
        ("[asr]\nbackend = 'x'", "missing required field"),
        (PROFILE + "\n[eyes]\nbackend = 'x'", "unknown field `eyes`"),
        (PROFILE.replace('"silero"', "7"), "Expected `str`, got `int` - at `$.vad.backend`"),
    ],
)
def test_a_damaged_profile_is_refused(tmp_path: Path, text: str, why: str) -> None:
    environ = models(tmp_path, "pico")
    path = tmp_path / "pico" / "profile.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_profile(load_config(None, environ).config)
    assert str(caught.value).startswith(f"{path} cannot be used: ")
    assert why in str(caught.value)


def test_pico_is_in_the_checkout() -> None:
    assert "pico" in profile_names(load_config(None, {}).config)

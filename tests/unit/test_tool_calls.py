"""A reply's text, told apart into words and tool calls, however it comes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riposte.backends.tool_calls import CLOSE, OPEN, ToolCallReader
from riposte.interfaces import LlmUsage, Piece, ToolUse


def read(pieces: list[str]) -> tuple[str, list[ToolUse]]:
    reader, said, calls = ToolCallReader(), "", []
    for piece in pieces:
        words, uses = reader.push(piece)
        said += words
        calls += uses
    words, uses = reader.finish()
    return said + words, calls + uses


def call(name: str = "light", **arguments: object) -> str:
    return f"{OPEN}\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n{CLOSE}"


def shown(uses: list[ToolUse]) -> list[tuple[str, str, str | None]]:
    return [(use.name, use.arguments, use.error) for use in uses]


NOT_JSON = "the call is not valid JSON"
NO_OBJECT = '"arguments" is not a JSON object'
LIGHT = ("light", '{"on":true}', None)


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        ("", "", []),
        ("No call here.\n", "No call here.\n", []),
        ("1 < 2 <tool", "1 < 2 <tool", []),
        ("</tool_call> alone", "</tool_call> alone", []),
        (call(on=True), "", [LIGHT]),
        (f"Okay.\n{call(on=True)}", "Okay.", [LIGHT]),
        (f"{call(on=True)}\n{call('timer', s=3)}\n", "", [LIGHT, ("timer", '{"s":3}', None)]),
        (f"A {call(on=True)} B ", "A B ", [LIGHT]),
        (f'{OPEN}{{"arguments":{{"on":true}},"name":"light"}}{CLOSE}', "", [LIGHT]),
        (f'{OPEN}{{"name": "stop"}}{CLOSE}', "", [("stop", "{}", None)]),
        (call(word='é "<b>"'), "", [("light", '{"word":"é \\"<b>\\""}', None)]),
        (f"{OPEN}\nlights on\n{CLOSE}", "", [("", "lights on", NOT_JSON)]),
        (
            f'{OPEN}{{"name":"x","arguments":{{"a":NaN}}}}{CLOSE}',
            "",
            [("", None, NOT_JSON)],
        ),
        (f'{OPEN}{{"name":"\\ud800"}}{CLOSE}', "", [("", None, NOT_JSON)]),
        (f"{OPEN}[1]{CLOSE}", "", [("", "[1]", 'the call has no "name"')]),
        (f'{OPEN}{{"name":7}}{CLOSE}', "", [("", '{"name":7}', 'the call has no "name"')]),
        (
            f'{OPEN}{{"name":"x","arguments":[]}}{CLOSE}',
            "",
            [("x", None, NO_OBJECT)],
        ),
        (f"{OPEN}{'[' * 5000}{CLOSE}", "", [("", None, "the call is nested too deeply")]),
        (f"Well. {OPEN}\n{{", "Well.", [("", "{", "the call was cut off")]),
        (f"{call(on=True)}\n{OPEN}", "", [LIGHT, ("", "", "the call was cut off")]),
        (f"{OPEN}{call(on=True)}", "", [("", None, NOT_JSON)]),
    ],
)
def test_words_and_calls_are_told_apart(
    text: str, said: str, calls: list[tuple[str, str | None, str | None]]
) -> None:
    words, uses = read([text])
    assert words == said
    assert [(use.name, use.error) for use in uses] == [(name, error) for name, _, error in calls]
    for use, (_, arguments, _) in zip(uses, calls, strict=True):
        assert arguments in (None, use.arguments)


FRAGMENTS = [OPEN, CLOSE, OPEN[:5], "</tool_", call(on=True), '{"name": "x"}', "{", "Hi", " ", "\n", "<", "é"]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8), st.data())
def test_how_the_text_is_cut_changes_nothing(fragments: list[str], data: st.DataObject) -> None:
    text = "".join(fragments)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, cut, letters = read([text]), read(pieces), read(list(text))
    assert cut[0] == letters[0] == whole[0]
    assert shown(cut[1]) == shown(letters[1]) == shown(whole[1])
    assert OPEN not in whole[0]


@given(st.text().filter(lambda text: OPEN not in text))
def test_text_without_calls_goes_out_as_it_is(text: str) -> None:
    assert read(list(text)) == (text, [])


def test_words_are_held_back_no_longer_than_they_must_be() -> None:
    reader = ToolCallReader()
    assert [reader.push(text)[0] for text in ("Hello", " there", " <", "b>", "\n", "<tool_")] == [
        "Hello",
        " there",
        "",
        " <b>",
        "",
        "",
    ]


def test_every_call_has_an_id_of_its_own() -> None:
    uses = read([call() * 3 + OPEN])[1]
    assert len({use.call for use in uses}) == 4


def test_pieces_keep_their_tokens_and_their_end() -> None:
    reader, usage = ToolCallReader(), LlmUsage(3, 0, 2)
    inside = reader.read(Piece(f"Hm. {OPEN}\n", (5, 6)))
    assert (inside.text, inside.token_ids, inside.tool_calls) == ("Hm.", (5, 6), ())
    last = reader.read(Piece("{", (7,), finish="length", usage=usage))
    assert (last.text, last.token_ids, last.finish, last.usage) == ("", (7,), "length", usage)
    assert [use.error for use in last.tool_calls] == ["the call was cut off"]

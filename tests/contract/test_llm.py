"""What every language model keeps: the promises of riposte.interfaces.Llm.

The model on ONNX is the one in the box; RIPOSTE_TEST_LLM names another folder.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from riposte.backends.fake import FAIL_LLM, FakeLlm
from riposte.errors import EngineError, TooLarge
from riposte.interfaces import Llm, LlmUsage, Message, Piece, Priority, Sampling

FOLDER = Path(
    os.environ.get("RIPOSTE_TEST_LLM") or Path(__file__).parents[2] / "onnx_models" / "pico" / "thinking"
)
LIGHT: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Switch a light.",
        "parameters": {"type": "object", "properties": {"room": {"type": "string"}}},
    },
}
LIGHT_ON, LIGHT_OFF = '{"room": "hall", "on": true}', '{"room": "hall", "on": false}'
HELLO = (Message("user", "hello, count to 20 please"),)
NAME = (Message("user", "my name is Anna"),)
GREEDY = Sampling(max_tokens=24)


@dataclass
class Reply:
    text: str
    ids: tuple[int, ...]
    pieces: list[Piece]

    @property
    def usage(self) -> LlmUsage:
        assert self.pieces[-1].usage is not None
        return self.pieces[-1].usage


@pytest.fixture(params=["fake", "onnx"])
async def llm(request: pytest.FixtureRequest) -> AsyncIterator[Llm]:
    model = make(request.param)
    yield model
    await model.aclose()
    assert model.active == 0


def make(kind: str) -> Llm:
    if kind == "fake":
        return FakeLlm(token_s=0.0005, context_tokens=256)
    if not (FOLDER / "manifest.json").is_file():
        pytest.skip(f"no model in {FOLDER}: run `make engines PROFILE=pico`")
    from riposte.backends.llm_onnx import OnnxLlm

    return OnnxLlm(FOLDER, slots=4, context_tokens=256)


async def read(stream: AsyncGenerator[Piece, None]) -> Reply:
    async with aclosing(stream) as pieces:
        seen = [piece async for piece in pieces]
    return Reply(
        "".join(piece.text for piece in seen), tuple(i for piece in seen for i in piece.token_ids), seen
    )


async def ask(llm: Llm, messages: tuple[Message, ...], key: str = "a", **wishes: Any) -> Reply:
    sampling = wishes.pop("sampling", GREEDY)
    return await read(llm.generate(messages, key=key, sampling=sampling, **wishes))


async def fail(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the model fail at its next step, and the text say so to the fake."""

    def broken(*_: object) -> None:
        raise RuntimeError("the graph broke")

    if not isinstance(llm, FakeLlm):
        monkeypatch.setattr(llm._graph, "forward", broken)  # type: ignore[attr-defined]


def script(
    llm: Llm, monkeypatch: pytest.MonkeyPatch, said: str, *calls: str, tools: Any = (LIGHT,)
) -> tuple[Message, ...]:
    """Return a prompt that the model answers with these words and calls."""
    if isinstance(llm, FakeLlm):
        return (Message("user", " ".join([said, *(f"#tool set_light {call}" for call in calls)])),)
    # A real decode loop on a graph that knows its lines: whatever position it is at says which is next.
    written = "".join(
        f"\n<tool_call>\n{call if call.startswith('{n') else named(call)}\n</tool_call>" for call in calls
    )
    model: Any = llm
    encode = model._format.tokenizer.encode
    lines = encode(said + written, add_special_tokens=False).ids + list(model._vocabulary.end_ids)[:1]
    start = llm.count_tokens(HELLO, tools)
    whole = model._graph.forward

    def forward(low: int, high: int, ids: Any, past: Any, run: Any = None) -> Any:
        logits = whole(low, high, ids, past, run).copy()
        for row, at in enumerate(past + ids.shape[1] - start):
            if 0 <= at < len(lines):
                logits[row, lines[at]] = 1e4
        return logits

    monkeypatch.setattr(model._graph, "forward", forward)
    return HELLO


def named(arguments: str) -> str:
    return f'{{"name": "set_light", "arguments": {arguments}}}'


async def test_reply_ends_exactly_once_with_usage(llm: Llm) -> None:
    reply = await ask(llm, HELLO)
    assert [piece.finish for piece in reply.pieces[:-1]] == [None] * (len(reply.pieces) - 1)
    assert reply.pieces[-1].finish in ("stop", "length")
    assert [piece.usage for piece in reply.pieces[:-1]] == [None] * (len(reply.pieces) - 1)
    assert reply.usage.prompt_tokens == llm.count_tokens(HELLO)
    assert reply.usage.completion_tokens == len(reply.ids)
    assert reply.text


async def test_text_holds_no_special_token(llm: Llm) -> None:
    reply = await ask(llm, HELLO, sampling=Sampling(max_tokens=64))
    assert "<|" not in reply.text


async def test_greedy_replies_repeat(llm: Llm) -> None:
    first = await ask(llm, HELLO, "a")
    assert (await ask(llm, HELLO, "a")).ids == first.ids
    assert (await ask(llm, HELLO, "b")).ids == first.ids


async def test_reply_is_cut_at_max_tokens(llm: Llm) -> None:
    reply = await ask(llm, HELLO, sampling=Sampling(max_tokens=3))
    assert reply.pieces[-1].finish == "length"
    assert reply.usage.completion_tokens == 3


@pytest.mark.parametrize("temperature", [0.0, 1.3])
async def test_seeded_replies_repeat_whoever_else_is_served(llm: Llm, temperature: float) -> None:
    sampling = Sampling(max_tokens=24, temperature=temperature, top_p=0.95, seed=7)
    alone = await ask(llm, HELLO, "a", sampling=sampling)
    together = await asyncio.gather(
        ask(llm, NAME, "b", sampling=Sampling(max_tokens=40, temperature=1.0)),
        ask(llm, HELLO, "c", sampling=sampling),
        ask(llm, NAME, "d"),
    )
    assert together[1].ids == alone.ids


async def test_who_joins_late_gets_the_reply_it_gets_alone(llm: Llm) -> None:
    alone = await ask(llm, NAME, "alone")
    stream = llm.generate(HELLO, key="long", sampling=Sampling(max_tokens=60, temperature=1.5, seed=1))
    async with aclosing(stream) as pieces:
        await anext(pieces)
        late = await ask(llm, NAME, "late")
        rest = [piece async for piece in pieces]
    assert late.ids == alone.ids
    assert rest[-1].finish is not None


async def test_next_turn_reuses_what_it_shares_with_the_last(llm: Llm) -> None:
    first = await ask(llm, NAME)
    turn = (*NAME, Message("assistant", first.text), Message("user", "what is my name?"))
    second = await ask(llm, turn)
    assert second.usage.cached_tokens >= first.usage.prompt_tokens - 8  # less a generation prompt
    assert second.usage.cached_tokens <= second.usage.prompt_tokens


async def test_forgetting_a_conversation_empties_its_cache(llm: Llm) -> None:
    first = await ask(llm, NAME)
    llm.forget("a")
    again = await ask(llm, NAME)
    assert again.usage.cached_tokens == 0
    assert again.ids == first.ids
    llm.forget("never heard of")


async def test_turn_after_an_interrupted_reply_equals_a_fresh_one(llm: Llm) -> None:
    async with aclosing(llm.generate(HELLO, key="a", sampling=Sampling(max_tokens=60))) as pieces:
        heard = await anext(pieces)
    turn = (*HELLO, Message("assistant", heard.text), Message("user", "stop. my name is Anna"))
    interrupted = await ask(llm, turn, "a")
    fresh = await ask(llm, turn, "b")
    assert interrupted.ids == fresh.ids
    assert fresh.usage.cached_tokens == 0
    assert interrupted.usage.cached_tokens > 0


async def test_prefill_is_found_by_the_next_prompt(llm: Llm) -> None:
    expected = await ask(llm, NAME, "other")
    await llm.prefill(NAME, key="a")
    reply = await ask(llm, NAME, "a")
    assert reply.usage.cached_tokens >= reply.usage.prompt_tokens - 8
    assert reply.ids == expected.ids


async def test_prefill_fails_in_silence(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    await llm.prefill((Message("user", "hello " * 2_000),), key="a")
    await fail(llm, monkeypatch)
    await llm.prefill(NAME, key="a")


async def test_turn_is_more_probably_over_behind_a_whole_sentence(llm: Llm) -> None:
    unfinished, whole = [
        await llm.turn_end((Message("user", text),), key="a")
        for text in ("turn on the", "turn on the kitchen lights")
    ]
    assert unfinished is not None
    assert whole is not None
    assert 0.0 <= unfinished < 0.5 < whole <= 1.0


async def test_turn_end_depends_on_the_words_alone(llm: Llm) -> None:
    text = (Message("user", "set a timer for ten minutes"),)
    first = await llm.turn_end(text, key="a")
    await ask(llm, text, "a")
    again = [await llm.turn_end(text, key=key, priority=priority) for key in "ab" for priority in Priority]
    assert again == pytest.approx([first] * len(again), abs=1e-4)


async def test_turn_end_is_found_by_the_reply_to_the_same_words(llm: Llm) -> None:
    talk = (*NAME, Message("assistant", "Hello Anna."), Message("user", "what is my name?"))
    expected = await ask(llm, talk, "other", tools=(LIGHT,))
    await llm.turn_end(talk, key="a", tools=(LIGHT,))
    reply = await ask(llm, talk, "a", tools=(LIGHT,))
    assert reply.ids == expected.ids
    assert reply.usage.cached_tokens >= reply.usage.prompt_tokens - 8  # less what says whose turn is next


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("turn on the kitchen", "turn on the kitchen lights please"),
        ("turn on the kit", "turn on the kitchen lights please"),  # the last token is another one
        ("turn on the kitchen lights please", "turn on the"),
        ("turn on the kitchen lights", "set a timer for ten minutes"),
        ("", "hello"),
    ],
)
async def test_words_after_turn_end_are_answered_as_if_it_had_not_been_asked(
    llm: Llm, asked: str, said: str
) -> None:
    expected = await ask(llm, (Message("user", said),), "other")
    await llm.turn_end((Message("user", asked),), key="a", priority=Priority.FIRST)
    reply = await ask(llm, (Message("user", said),), "a")
    assert reply.ids == expected.ids
    assert reply.usage.prompt_tokens == expected.usage.prompt_tokens


@pytest.mark.parametrize("seed", range(4))
async def test_hearing_in_any_order_leads_to_the_same_reply(llm: Llm, seed: int) -> None:
    chance = random.Random(seed)
    text = "hello my name is Anna and I live in Paris please turn on the kitchen lights"
    talk: tuple[Message, ...] = ()
    for _ in range(2):
        for _ in range(6):
            # Recognition changes its mind: words come, go, and are cut in the middle.
            words = (*talk, Message("user", text[: chance.randrange(1, len(text))].strip()))
            urgent = chance.choice(list(Priority))
            match chance.randrange(5):
                case 0:
                    await llm.prefill(words, key="a")
                case 1:  # a draft that is thrown away
                    async with aclosing(llm.generate(words, key="a", sampling=GREEDY)) as pieces:
                        await anext(pieces)
                case 2:  # a question that is
                    asking = asyncio.create_task(llm.turn_end(words, key="a", priority=urgent), name="asking")
                    await asyncio.sleep(0)
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
                case _:
                    await llm.turn_end(words, key="a", priority=urgent)
        whole = (*talk, Message("user", text))
        reply = await ask(llm, whole)
        assert reply.ids == (await ask(llm, whole, f"fresh {len(talk)}")).ids
        talk = (*whole, Message("assistant", reply.text))


async def test_turn_end_leaves_a_reply_in_progress_alone(llm: Llm) -> None:
    expected = await ask(llm, HELLO, "other")
    async with aclosing(llm.generate(HELLO, key="a", sampling=GREEDY)) as pieces:
        seen = [await anext(pieces)]
        async with asyncio.timeout(5):
            await llm.turn_end(NAME, key="a", priority=Priority.FIRST)
        seen += [piece async for piece in pieces]
    assert tuple(token for piece in seen for token in piece.token_ids) == expected.ids


async def test_turn_end_fails_in_silence(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    await llm.turn_end((Message("user", "hello " * 2_000),), key="a")
    await fail(llm, monkeypatch)
    await llm.turn_end(NAME, key="a")
    await llm.aclose()
    assert await llm.turn_end(NAME, key="a") is None


async def test_stop_string_cuts_the_reply_before_it(llm: Llm) -> None:
    whole = (await ask(llm, HELLO)).text
    stop = whole[4:7]
    reply = await ask(llm, HELLO, sampling=Sampling(max_tokens=24, stop=("never said", stop)))
    assert reply.text == whole[: whole.index(stop)]
    assert reply.pieces[-1].finish == "stop"


async def test_prompt_without_room_for_a_reply_is_too_large(llm: Llm) -> None:
    stream = llm.generate((Message("user", "hello " * 400),), key="a", sampling=GREEDY)
    with pytest.raises(TooLarge):
        await anext(stream)
    assert llm.active == 0


async def test_reply_is_cut_where_the_context_ends(llm: Llm) -> None:
    text = "one"
    while llm.count_tokens((Message("user", f"{text} two"),)) <= llm.context_tokens - 2:
        text += " two"
    prompt = (Message("user", text),)
    reply = await ask(llm, prompt, sampling=Sampling(max_tokens=1_000))
    room = llm.context_tokens - llm.count_tokens(prompt)
    assert reply.usage.completion_tokens <= room
    if reply.pieces[-1].finish == "length":
        assert reply.usage.completion_tokens == room
    # The row is full to its last token, and still good for the next prompt.
    assert (await ask(llm, HELLO)).ids == (await ask(llm, HELLO, "fresh")).ids


async def test_closing_a_stream_stops_it(llm: Llm) -> None:
    stream = llm.generate(HELLO, key="a", sampling=Sampling(max_tokens=200))
    await anext(stream)
    assert llm.active == 1
    await stream.aclose()
    assert llm.active == 0
    assert (await ask(llm, NAME)).text


async def test_cancelling_who_waits_stops_the_stream(llm: Llm) -> None:
    tasks = [asyncio.create_task(ask(llm, HELLO, f"key {n}"), name=f"ask-{n}") for n in range(9)]
    await asyncio.sleep(0.002)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError | Reply) for result in results)
    assert llm.active == 0
    assert (await ask(llm, NAME)).text


async def test_stream_that_is_never_read_costs_nothing(llm: Llm) -> None:
    stream = llm.generate(HELLO, key="a", sampling=GREEDY)
    assert llm.active == 0
    await stream.aclose()


async def test_more_requests_than_rows_are_all_served(llm: Llm) -> None:
    expected = (await ask(llm, HELLO)).ids
    replies = await asyncio.gather(
        *(ask(llm, HELLO, f"key {n}", priority=Priority(n % 2)) for n in range(12))
    )
    assert {reply.ids for reply in replies} == {expected}


async def test_second_stream_of_a_conversation_is_served_too(llm: Llm) -> None:
    expected = await ask(llm, NAME, "alone")
    async with aclosing(llm.generate(HELLO, key="a", sampling=GREEDY)) as pieces:
        await anext(pieces)
        second = await ask(llm, NAME, "a")
        rest = [piece async for piece in pieces]
    assert second.ids == expected.ids
    assert rest[-1].finish is not None


async def test_failure_reaches_who_waits_and_passes(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        await fail(llm, patch)
        with pytest.raises(EngineError):
            await ask(llm, (Message("user", f"hello {FAIL_LLM} again"),))
    assert llm.active == 0
    assert (await ask(llm, HELLO)).text


async def test_closing_the_model_ends_open_streams(llm: Llm) -> None:
    stream = llm.generate(HELLO, key="a", sampling=Sampling(max_tokens=200, temperature=2.0, seed=3))
    await anext(stream)
    await llm.aclose()
    try:
        rest = [piece async for piece in stream]
    except EngineError:
        pass
    else:
        assert rest[-1].finish is not None  # it was whole before the model closed
    with pytest.raises(EngineError):
        await ask(llm, NAME)
    await llm.aclose()


async def test_warm_up_harms_no_conversation(llm: Llm) -> None:
    await llm.warm_up()
    first = await ask(llm, NAME)
    await llm.warm_up()
    turn = (*NAME, Message("assistant", first.text), Message("user", "what is my name?"))
    warmed = await ask(llm, turn)
    assert warmed.ids == (await ask(llm, turn, "fresh")).ids


async def test_tools_are_shown_to_a_model_that_takes_them_and_to_no_other(llm: Llm) -> None:
    shown = llm.count_tokens(NAME, (LIGHT,)) > llm.count_tokens(NAME)
    assert shown == llm.takes_tools
    reply = await ask(llm, NAME, tools=(LIGHT,))
    assert reply.usage.prompt_tokens == llm.count_tokens(NAME, (LIGHT,))


async def test_prefill_with_tools_is_found_by_the_next_prompt(llm: Llm) -> None:
    await llm.prefill(NAME, key="a", tools=(LIGHT,))
    reply = await ask(llm, NAME, "a", tools=(LIGHT,))
    assert reply.usage.cached_tokens >= reply.usage.prompt_tokens - 8


async def test_calls_are_no_text_and_count_as_tokens(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = script(llm, monkeypatch, "Okay.", LIGHT_ON, LIGHT_OFF)
    reply = await ask(llm, asked, tools=(LIGHT,), sampling=Sampling(max_tokens=200))
    assert reply.text == "Okay."
    uses = [use for piece in reply.pieces for use in piece.tool_calls]
    assert [(use.name, use.arguments, use.error) for use in uses] == [
        ("set_light", '{"room":"hall","on":true}', None),
        ("set_light", '{"room":"hall","on":false}', None),
    ]
    assert uses[0].call != uses[1].call
    assert reply.pieces[-1].finish == "stop"
    assert reply.usage.completion_tokens == len(reply.ids)


async def test_next_prompt_finds_a_kept_call_in_the_cache(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = script(llm, monkeypatch, "Okay.", LIGHT_ON)
    first = await ask(llm, asked, tools=(LIGHT,), sampling=Sampling(max_tokens=200))
    uses = tuple(use for piece in first.pieces for use in piece.tool_calls)
    step = (Message("assistant", first.text, uses), Message("tool", "done"))
    second = await ask(llm, (*asked, *step), tools=(LIGHT,))
    expected = first.usage.prompt_tokens + (first.usage.completion_tokens if llm.takes_tools else 0)
    assert second.usage.cached_tokens >= expected - 1  # less what only its logits were needed of


async def test_malformed_call_says_what_is_wrong(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = script(llm, monkeypatch, "Okay.", "{nothing")
    reply = await ask(llm, asked, tools=(LIGHT,), sampling=Sampling(max_tokens=200))
    assert reply.text == "Okay."
    (use,) = [use for piece in reply.pieces for use in piece.tool_calls]
    assert use.error is not None


async def test_without_tools_offered_text_is_text(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = script(llm, monkeypatch, "Okay.", LIGHT_ON, tools=())
    reply = await ask(llm, asked, sampling=Sampling(max_tokens=200))
    assert "set_light" in reply.text
    assert not any(piece.tool_calls for piece in reply.pieces)

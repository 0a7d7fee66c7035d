"""The event loop stays free while the language model works: also in a long prompt, also in tokenising."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from riposte.backends.llm_onnx import OnnxLlm
from riposte.errors import TooLarge
from riposte.interfaces import Message, Sampling

FOLDER = Path(
    os.environ.get("RIPOSTE_TEST_LLM") or Path(__file__).parents[2] / "onnx_models" / "pico" / "thinking"
)
MOST_S = 0.1  # 3 ms undisturbed; machines that test are busy


class Ticker:
    """Wakes every millisecond and remembers the longest it was kept waiting, in seconds."""

    async def __aenter__(self) -> Ticker:
        self.late_s = 0.0
        self._task = asyncio.create_task(self._tick(), name="ticker")
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.late_s = max(self.late_s, now - last - 0.001)
            last = now


@pytest.mark.skipif(
    not (FOLDER / "manifest.json").is_file(), reason=f"no model in {FOLDER}: run `make engines PROFILE=pico`"
)
async def test_long_prompts_do_not_make_the_loop_late() -> None:
    llm = OnnxLlm(FOLDER, slots=4)
    await llm.warm_up()
    words, text = "please turn on the light in the kitchen. ", ""
    while llm.count_tokens((Message("user", text + words),)) < llm.context_tokens - 40:
        text += words

    async def ask(key: str) -> None:
        prompt = (Message("user", text),)
        async for _ in llm.generate(prompt, key=key, sampling=Sampling(max_tokens=30, temperature=1.0)):
            pass

    async with Ticker() as ticker:
        await asyncio.gather(*(ask(f"talk {n}") for n in range(6)))
        with pytest.raises(TooLarge):
            async for _ in llm.generate((Message("user", text * 8),), key="x", sampling=Sampling()):
                pass
    await llm.aclose()
    assert ticker.late_s < MOST_S

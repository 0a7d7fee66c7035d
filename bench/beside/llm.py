"""One language model in three runtimes: our own loop, transformers, llama.cpp. Token ids in, text out."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uvloop
from tokenizers import Tokenizer

from riposte.backends.detok import token_bytes
from riposte.backends.llm_graph import Graph, read_graph_config
from riposte.backends.llm_job import Job, Reply, Vocabulary
from riposte.backends.llm_scheduler import Scheduler
from riposte.interfaces import Priority, Sampling

BATCH = 4
CONTEXT = 1_024  # of each of the four


class Engine(Protocol):
    """A model that is loaded. `name` is what the report calls it."""

    name: str

    def generate(self, prompts: Sequence[Sequence[int]], count: int, *, stop: bool = False) -> list[str]:
        """Return a greedy continuation of each prompt, all made at a time: `count` tokens each.

        `stop`: up to the end token, if that comes first; else past it, so that the work is the same
        whatever the model would say.
        """

    def close(self) -> None:
        """Free the model."""


class RiposteEngine:
    """The served graph under the served scheduler: a thread of its own, pieces pushed to an event loop."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.name = "riposte"
        config = read_graph_config(folder)
        graph = Graph(folder, config, rows=BATCH, context_tokens=CONTEXT, threads=threads)
        pieces = token_bytes(Tokenizer.from_file(str(folder / "tokenizer.json")))
        self._endless, self._ending = Vocabulary(pieces, frozenset()), Vocabulary(pieces, config.end_ids)
        self._scheduler = Scheduler(graph, "bench")
        self._scheduler.warm_up().result()
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._key = 0

    def generate(self, prompts: Sequence[Sequence[int]], count: int, *, stop: bool = False) -> list[str]:
        return self._runner.run(self._all(prompts, count, self._ending if stop else self._endless))

    async def _all(self, prompts: Sequence[Sequence[int]], count: int, words: Vocabulary) -> list[str]:
        return list(await asyncio.gather(*(self._one(prompt, count, words) for prompt in prompts)))

    async def _one(self, prompt: Sequence[int], count: int, words: Vocabulary) -> str:
        self._key += 1
        key, ids = str(self._key), np.array(prompt, np.int64)
        sampling = Sampling(max_tokens=count, temperature=0.0)
        job = Job(key, ids, Priority.FIRST, Reply(words, sampling, ids, count))
        self._scheduler.submit(job)
        text = ""
        while (piece := await job.next()) is not None:
            text += piece.text
            if piece.finish is not None:
                break
        self._scheduler.forget(key)
        return text

    def close(self) -> None:
        self._runner.close()
        if (thread := self._scheduler.close()) is not None:
            thread.join()


class TransformersEngine:
    """transformers' `generate` on torch, 32-bit floats, its cache and its scaled_dot_product_attention."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.name = "transformers"
        self._torch = torch
        torch.set_num_threads(threads)
        self._threads = threads
        self._model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self._end = self._model.generation_config.eos_token_id
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))

    def generate(self, prompts: Sequence[Sequence[int]], count: int, *, stop: bool = False) -> list[str]:
        torch = self._torch
        torch.set_num_threads(self._threads)
        ids = torch.tensor([list(prompt) for prompt in prompts])
        self._model.generation_config.eos_token_id = self._end if stop else None
        with torch.inference_mode():
            made = self._model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False
            )
        return [self._tokenizer.decode(row[ids.shape[1] :].tolist()) for row in made]

    def close(self) -> None:
        del self._model


class LlamaCppEngine:
    """llama.cpp's server loop in this process (xllamacpp), on a GGUF of the same 32-bit floats."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import xllamacpp

        from bench.beside.gguf import write_gguf

        self.name = "llama.cpp"
        self._folder = tempfile.TemporaryDirectory(prefix="riposte-bench-")
        path = Path(self._folder.name) / "model.gguf"
        write_gguf(checkpoint, path)
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel = CONTEXT * BATCH, BATCH
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.verbosity = 0
        self._server = xllamacpp.Server(params)
        self._pool = ThreadPoolExecutor(BATCH)

    def generate(self, prompts: Sequence[Sequence[int]], count: int, *, stop: bool = False) -> list[str]:
        def one(prompt: Sequence[int]) -> str:
            answer: dict[str, Any] = self._server.handle_completions(
                {
                    "prompt": list(prompt),
                    "n_predict": count,
                    "temperature": 0,
                    "samplers": ["top_k"],
                    "top_k": 1,
                    "cache_prompt": False,
                    "ignore_eos": not stop,
                }
            )
            text: str = answer["choices"][0]["text"]
            return text

        return list(self._pool.map(one, prompts))

    def close(self) -> None:
        self._pool.shutdown()
        del self._server
        with suppress(OSError):
            self._folder.cleanup()

"""One speech recogniser in three runtimes: our own loop, transformers, ctranslate2. Sound in, words out."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uvloop
from tokenizers import Tokenizer

from riposte.backends.asr_whisper import WhisperAsr
from riposte.interfaces import PcmF32, Priority

RATE_HZ = 16_000
TICK = 4_096  # samples: 256 ms, as often as a session looks at what is being said


class Recogniser(Protocol):
    """A model that is loaded. `name` is what the report calls it."""

    name: str

    def hear(self, pcm: PcmF32) -> str:
        """Return the words of one utterance at 16 kHz."""

    def close(self) -> None:
        """Free the model."""


@dataclass(frozen=True, slots=True)
class Along:
    """What hearing an utterance while it was spoken gave, and took: at its end, and in all."""

    words: str
    end_ms: float
    all_ms: float


class RiposteRecogniser:
    """The served model as a session uses it: its worker's thread, and an event loop that waits."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.name = "riposte"
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._asr = WhisperAsr(folder, threads=threads)
        self._runner.run(self._asr.warm_up())

    def hear(self, pcm: PcmF32) -> str:
        return self._runner.run(self._hear(pcm))

    def hear_along(self, pcm: PcmF32) -> Along:
        """Hear an utterance as it grows, up to its end."""
        return self._runner.run(self._hear_along(pcm))

    async def _hear_along(self, pcm: PcmF32) -> Along:
        listening = self._asr.listen()
        ms: list[float] = []
        try:
            for at in range(0, pcm.size, TICK):
                listening.push(pcm[at : at + TICK])
                last = at + TICK >= pcm.size
                began = time.perf_counter()
                heard = await listening.transcribe(Priority.FIRST if last else Priority.AHEAD)
                ms.append((time.perf_counter() - began) * 1000)
        finally:
            listening.close()
        return Along(heard.text, ms[-1], sum(ms))

    async def _hear(self, pcm: PcmF32) -> str:
        listening = self._asr.listen()
        try:
            listening.push(pcm)
            return (await listening.transcribe()).text
        finally:
            listening.close()

    def close(self) -> None:
        self._runner.run(self._asr.aclose())
        self._runner.close()


class TransformersRecogniser:
    """transformers' Whisper with `generate`, greedy, its own spectrogram of a whole window."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import torch
        from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
        from transformers.utils import logging

        logging.set_verbosity_error()
        self.name = "transformers"
        self._torch, self._threads = torch, threads
        self._spectrogram = WhisperFeatureExtractor.from_pretrained(checkpoint)
        model = WhisperForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
        self._model = model.eval()
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))

    def hear(self, pcm: PcmF32) -> str:
        self._torch.set_num_threads(self._threads)
        mel = self._spectrogram(pcm, sampling_rate=RATE_HZ, return_tensors="pt").input_features
        with self._torch.inference_mode():
            ids = self._model.generate(mel, language="en", task="transcribe", do_sample=False, num_beams=1)
        text: str = self._tokenizer.decode(ids[0].tolist())
        return text

    def close(self) -> None:
        del self._model


class CTranslate2Recogniser:
    """faster-whisper's parts: its spectrogram and its engine, ctranslate2, greedy, 32-bit floats.

    Not its `transcribe`: that asks the tokenizer for <|translate|>, <|startofprev|> and <|startoflm|>, which
    a model of one language and one task has not, and fails with a TypeError on the None it gets.
    """

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import ctranslate2
        from ctranslate2.converters import TransformersConverter
        from faster_whisper.feature_extractor import FeatureExtractor

        self.name = "ctranslate2"
        self._folder = tempfile.TemporaryDirectory(prefix="riposte-bench-")
        with contextlib.redirect_stderr(io.StringIO()):
            TransformersConverter(str(checkpoint)).convert(
                self._folder.name, quantization="float32", force=True
            )
        self._storage: Any = ctranslate2.StorageView
        self._model = ctranslate2.models.Whisper(
            self._folder.name, device="cpu", compute_type="float32", intra_threads=threads, inter_threads=1
        )
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        words = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
        self._prompt = [self._tokenizer.token_to_id(word) for word in words]
        self._window = 10 * RATE_HZ
        self._spectrogram = FeatureExtractor(feature_size=80, sampling_rate=RATE_HZ, chunk_length=10)

    def hear(self, pcm: PcmF32) -> str:
        window = np.zeros(self._window, np.float32)
        window[: pcm.size] = pcm[: self._window]
        mel = np.ascontiguousarray(self._spectrogram(window, padding=0)[None, :, :1_000], dtype=np.float32)
        view = self._storage.from_array(mel)
        made = self._model.generate(
            view, [self._prompt], beam_size=1, suppress_tokens=[-1], max_length=96, suppress_blank=False
        )
        text: str = self._tokenizer.decode(made[0].sequences_ids[0])
        return text

    def close(self) -> None:
        del self._model
        self._folder.cleanup()

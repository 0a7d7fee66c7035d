"""What Smart Turn's models read, against transformers' own preparation. Needs the `build` extra."""

from __future__ import annotations

import numpy as np
import pytest

from riposte.backends.turn_smart import features

pytestmark = pytest.mark.build
transformers = pytest.importorskip("transformers", reason="needs the build extra")

SAMPLES = 8 * 16_000


@pytest.mark.parametrize("samples", [0, 16_000, 48_000, SAMPLES])
def test_features_are_those_of_transformers(samples: int) -> None:
    loudness = np.sin(np.arange(samples) / 3_000)
    speech = (np.random.default_rng(samples).normal(0, 0.1, samples) * loudness).astype(np.float32)
    window = np.concatenate([np.zeros(SAMPLES - samples, np.float32), speech])
    extractor = transformers.WhisperFeatureExtractor(chunk_length=8)
    wanted = extractor(
        window,
        sampling_rate=16_000,
        return_tensors="np",
        padding="max_length",
        max_length=SAMPLES,
        truncation=True,
        do_normalize=True,
    ).input_features
    np.testing.assert_allclose(features(speech), wanted, atol=1e-5)

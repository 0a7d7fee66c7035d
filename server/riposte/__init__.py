"""Riposte: a speech and language server that answers within the human gap, on one machine of your own."""

import os

# onnxruntime uploads telemetry by default since 1.29, and its run-time switch comes too late for the
# first event; only this variable, set before its first import, stops it. Every entry point imports
# this package first. tests/unit/test_telemetry.py shows that nothing appears.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# numpy's own threads help nothing here, where matrices are small, and cost much when the cores are busy:
# one product of a spectrogram took 12 ms instead of 0.2.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"

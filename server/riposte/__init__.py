"""Riposte: a speech and language server that answers within the human gap, on one machine of your own."""

import os

# onnxruntime uploads telemetry by default since 1.29, and its run-time switch comes too late for the
# first event; only this variable, set before its first import, stops it. Every entry point imports
# this package first. tests/unit/test_telemetry.py shows that nothing appears.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

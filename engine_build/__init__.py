"""Build the models that Riposte serves: exporters, quantisers, and the training of the models in the box."""

import os

# onnxruntime >= 1.29 phones home by default; the switch is read once, at its first import, so it has to be
# set before
# any module of this package can import it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

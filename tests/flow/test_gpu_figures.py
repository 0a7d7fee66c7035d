"""What /health says of the graphics card: asked of nvidia-smi, with a deadline."""

from __future__ import annotations

from pathlib import Path

import pytest

from riposte.endpoints import admin
from riposte.endpoints.admin import GpuFigures


@pytest.mark.parametrize(
    ("script", "figures"),
    [
        (
            "echo 'NVIDIA GeForce RTX 4090, 12, 2048, 24564'; echo 'a second one, 0, 0, 0'",
            {
                "name": "NVIDIA GeForce RTX 4090",
                "utilization": 12,
                "memory_used_mib": 2048,
                "memory_total_mib": 24564,
            },
        ),
        (
            "echo 'NVIDIA H200, [N/A], 1, 2'",
            {"name": "NVIDIA H200", "utilization": None, "memory_used_mib": 1, "memory_total_mib": 2},
        ),
        ("echo 'NVIDIA-SMI has failed'; exit 9", None),
        ("exit 1", None),
        ("exec sleep 60", None),
    ],
)
async def test_the_gpu_is_asked_with_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, figures: object
) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setattr(admin, "GPU_DEADLINE_S", 1.0)
    assert await GpuFigures(str(command)).read() == figures


async def test_without_nvidia_smi_there_is_no_gpu(tmp_path: Path) -> None:
    assert await GpuFigures(str(tmp_path / "nvidia-smi")).read() is None

"""Take a graph of Smart Turn's contract into a profile: `python -m engine_build.turn_smart GRAPH FOLDER`.

The graph is published ready to run, so nothing is built: it is copied, described by a manifest, and tried.
Then the profile beside FOLDER names it: `[turn]`, `backend = "smart"`, `folder = "…"`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from riposte.backends.turn_smart import SmartTurn
from riposte.errors import RiposteError
from riposte.manifest import MANIFEST_NAME, Manifest, Source, describe, sha256_of, write_manifest

FAILED = 3  # ModelError's status, as everywhere in Riposte


def adopt(graph: Path, folder: Path, *, licence: str = "BSD-2-Clause") -> Manifest:
    """Write `folder` with the graph and its manifest, and run it. Raises ModelError for another contract.

    Then nothing of it is left in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / graph.name
    if kept.resolve() != graph.resolve():
        shutil.copyfile(graph, kept)
    manifest = Manifest(
        id=graph.stem,
        kind="turn",
        architecture="smart-turn",
        precision="as published",
        source=Source(graph.name, sha256=sha256_of(graph), licence=licence),
        files=describe(folder, [graph.name]),
        rebuild=f"python -m engine_build.turn_smart {graph.name} {folder.name}",
        rate_hz=16_000,
    )
    write_manifest(folder, manifest)
    try:
        SmartTurn(folder)
    except RiposteError:
        (folder / MANIFEST_NAME).unlink()
        if kept.resolve() != graph.resolve():
            kept.unlink()
        raise
    return manifest


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and take the graph in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph", type=Path, metavar="GRAPH", help="the .onnx file")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="onnx_models/PROFILE/NAME")
    chosen = parser.parse_args(arguments)
    try:
        manifest = adopt(chosen.graph, chosen.folder)
    except (OSError, RiposteError) as exc:
        print(exc, file=sys.stderr)
        return FAILED
    print(f'{manifest.id} is in {chosen.folder}; in the profile.toml beside it:\n\n[turn]\nbackend = "smart"')
    print(f'folder = "{chosen.folder.name}"')
    return 0


if __name__ == "__main__":
    sys.exit(main())

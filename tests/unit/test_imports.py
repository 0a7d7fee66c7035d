"""Every module imports alone, and the light ones stay light."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import riposte

# One interpreter with the packages of others, and from it a fork for each of ours: every child starts
# with no module of ours but the package itself, without paying for numpy and aiohttp each time.
_EACH_ALONE = """
import aiohttp, importlib, msgspec, numpy, os, prometheus_client, sys, traceback
failed = 0
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, file=sys.stderr)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed != 0)
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)


def test_every_module_imports_alone() -> None:
    names = [module.name for module in pkgutil.walk_packages(riposte.__path__, "riposte.")]
    assert len(names) > 30
    # OpenBLAS starts threads when numpy is imported, and a fork keeps none of them: Python 3.12 warns.
    done = python("-W", "ignore::DeprecationWarning", "-c", _EACH_ALONE, *names)
    assert done.returncode == 0, done.stderr


def test_the_client_is_light() -> None:
    heavy = ("numpy", "onnxruntime", "torch", "soundfile", "miniaudio", "riposte.config", "riposte.session")
    light = "riposte.client, riposte.talk.talk, riposte.talk.device, riposte.terminal"
    done = python("-c", f"import {light}, sys; print([n for n in {heavy!r} if n in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_help_needs_no_models() -> None:
    wanted = (
        "import riposte.cli, sys; print([n for n in ('numpy', 'onnxruntime', 'aiohttp') if n in sys.modules])"
    )
    done = python("-c", wanted)
    assert done.stdout.strip() == "[]", done.stderr


def test_importing_sets_up_no_logging() -> None:
    done = python("-c", "import logging, riposte.app, riposte.client; print(logging.root.handlers)")
    assert done.stdout.strip() == "[]", done.stderr

"""Bare environments of given versions, built by uv: it resolves downwards and finds Pythons."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:
    sys.exit("this tool itself needs Python 3.11 or later: make PYTHON=python3.11 …")

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Not built from source: without a wheel for this Python, the next release has to do.
_WITH_WHEELS = (
    "numpy",
    "scipy",
    "torch",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "matplotlib",
    "pyyaml",
    "psutil",
    "onnx",
)


def uv(*arguments: str | Path) -> None:
    """Run uv; what it asks an index for, and which, is the caller's setting (``UV_INDEX_URL``)."""
    if shutil.which("uv") is None:
        sys.exit("uv is missing: pip install uv")
    command = ["uv", *map(str, arguments)]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"failed: {' '.join(command)}")


def declared(extra: str) -> dict[str, str]:
    """Return the oldest version declared of every package an extra needs, by its name."""
    floors: dict[str, str] = {}
    waiting, seen = [PROJECT["dependencies"], PROJECT["optional-dependencies"][extra]], set()
    while waiting:
        for line in waiting.pop():
            name, extras, floor = re.fullmatch(
                r"([\w.-]+)(?:\[([\w-]+)\])?(?:>=([\w.]+))?", line
            ).groups()
            if name == PROJECT["name"] and extras not in seen:
                seen.add(extras)
                waiting.append(PROJECT["optional-dependencies"][extras])
            elif floor:
                floors[name.lower()] = floor
    return floors


def create(folder: Path, python: str) -> Path:
    """Make an empty environment and return its interpreter."""
    uv("venv", "--quiet", "--clear", "--python", python, folder)
    return folder / "bin" / "python"


def pin(kind: str, python: str, extra: str, out: Path) -> dict[str, str]:
    """Choose a version of everything an extra needs, the ``"oldest"`` or ``"newest"`` declared.

    Args:
        kind: which.
        python: the version of Python they are for.
        extra: of mho.
        out: the file of pins to write.

    Returns:
        The versions by name.
    """
    way = {"oldest": "lowest-direct", "newest": "highest"}[kind]
    wheels = [argument for name in _WITH_WHEELS for argument in ("--only-binary", name)]
    chosen = ("--python-version", python, "--resolution", way, "--extra", extra, *wheels)
    plain = ("--quiet", "--upgrade", "--no-header", "--no-annotate", "-o", out)
    uv("pip", "compile", *plain, *chosen, ROOT / "pyproject.toml")
    lines = [line.split(" ;")[0] for line in out.read_text().splitlines()]
    return dict(line.lower().split("==") for line in lines if "==" in line)


def install(python: Path, *what: str | Path) -> None:
    """Install requirements, as uv takes them, in an environment."""
    uv("pip", "install", "--quiet", "--python", python, *what)


def run(python: Path, *arguments: str, cwd: Path) -> int:
    """Run an environment's Python in a folder: one thread, and nothing found but what it has."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["OMP_NUM_THREADS"] = "1"
    return subprocess.run([python, *arguments], cwd=cwd, env=env, check=False).returncode

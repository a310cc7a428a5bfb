"""What there is of a machine, as ``mho doctor`` says it: plain values, and a page of text."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from typing import Any

_VERSIONS = ("mho", "torch", "numpy", "scipy")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCH_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_REQUIREMENT = re.compile(r"""^([\w.-]+)[^;]*;.*\bextra\s*==\s*["']([\w.-]+)["']""")


def facts() -> dict[str, Any]:
    """Return what is found, as values that JSON takes.

    Memory and disk are in bytes. What cannot be known is None; what does not load is there as its
    error, ``{"error": …}``.
    """
    found = {name: _loaded(name) for name in _VERSIONS}
    versions = {"python": platform.python_version()}
    versions |= {name: _version(module) for name, module in found.items()}
    torch = found["torch"]
    loads = not isinstance(torch, dict)
    return {
        "versions": versions,
        "python": sys.executable,
        "system": platform.platform(),
        "cores": _cores(),
        "threads": torch.get_num_threads() if loads else None,
        "environment": {name: os.environ[name] for name in _THREADS if name in os.environ},
        "memory": _memory(found["mho"]),
        "disk": {"folder": os.getcwd(), "free": shutil.disk_usage(".").free},
        "accelerators": _accelerators(torch) if loads else None,
        "ngspice": _ngspice(),
        "extras": _extras(),
    }


def printed(found: dict[str, Any]) -> str:
    """Return facts as people read them."""
    lines = [_row(name, _said(version)) for name, version in found["versions"].items()]
    lines += ["", _row("system", found["system"]), _row("interpreter", found["python"])]
    cores, threads = found["cores"], found["threads"]
    lines.append(_row("cores", "not known" if cores is None else str(cores)))
    if threads is not None:
        set_by = ", ".join(f"{name}={value}" for name, value in found["environment"].items())
        lines.append(_row("torch's threads", f"{threads}{f' ({set_by})' if set_by else ''}"))
    total, free = found["memory"]["total"], found["memory"]["available"]
    lines.append(_row("memory", f"{_size(free)} available of {_size(total)}"))
    disk = found["disk"]
    lines.append(_row("disk", f"{_size(disk['free'])} free for {disk['folder']}"))
    lines.append(_row("accelerators", "; ".join(_devices(found["accelerators"])) or "none"))
    missing = "not found (only checks against SPICE need it; it is in most systems' packages)"
    lines.append(_row("ngspice", found["ngspice"] or missing))
    return "\n".join([*lines, "", *_extras_said(found["extras"])])


def _loaded(name: str) -> Any:
    # Anything may go wrong in a library that does not fit the machine: it is what is asked for.
    try:
        return importlib.import_module(name)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _version(module: Any) -> Any:
    return module if isinstance(module, dict) else str(module.__version__)


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):  # those this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory(mho: Any) -> dict[str, int | None]:
    try:
        total: int | None = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        total = None
    if isinstance(mho, dict):
        return {"total": total, "available": None}
    from mho.core.memory import available

    return {"total": total, "available": available("cpu")}


def _accelerators(torch: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind in ("cuda", "xpu", "mps"):
        module: Any = getattr(torch, kind, None)
        if not getattr(module, "is_available", bool)():
            continue
        numbers = range(module.device_count())
        found += [{"device": f"{kind}:{k}", **_properties(module, k)} for k in numbers]
    return found


def _properties(module: Any, index: int) -> dict[str, Any]:
    try:
        properties = module.get_device_properties(index)
        return {"name": str(properties.name), "memory": int(properties.total_memory)}
    except Exception as error:  # a driver that does not fit says so in many ways
        return {"name": f"({type(error).__name__}: {error})", "memory": None}


def _ngspice() -> str | None:
    path = shutil.which("ngspice")
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return path
    version = re.search(r"ngspice-[\w.+-]+", done.stdout)
    return f"{version.group()} ({path})" if version else path


def _extras() -> dict[str, Any] | None:
    # By what mho's own package says of itself: nothing is listed a second time.
    try:
        requirements = importlib.metadata.requires("mho") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    packages: dict[str, list[str]] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and match[1] != "mho":
            packages.setdefault(match[2], []).append(match[1])
    return {
        extra: {
            "missing": sorted(name for name in set(names) if not _installed(name)),
            "pip": f'pip install "mho[{extra}]"',
        }
        for extra, names in sorted(packages.items())
    }


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _extras_said(extras: dict[str, Any] | None) -> list[str]:
    if extras is None:
        return ["extras: not known, as mho is not installed as a package (pip install .)"]
    lines = ["extras"]
    for name, one in extras.items():
        missing = ", ".join(one["missing"])
        lines.append(f"  {name:<12}" + (f"missing {missing}: {one['pip']}" if missing else "there"))
    return lines


def _devices(accelerators: list[dict[str, Any]] | None) -> list[str]:
    if accelerators is None:
        return ["not known, as torch does not load"]
    return [_device(one) for one in accelerators]


def _device(one: dict[str, Any]) -> str:
    memory = None if one["memory"] is None else _size(one["memory"])
    return " ".join(filter(None, (one["device"], one["name"], memory)))


def _row(name: str, text: str) -> str:
    return f"{name:<17}{text}"


def _said(version: Any) -> str:
    return f"does not load: {version['error']}" if isinstance(version, dict) else version


def _size(count: int | None) -> str:
    # As `mho.core.text.size`, which cannot be asked where torch does not load.
    return "an unknown amount" if count is None else f"{count / 1e9:.3g} GB"

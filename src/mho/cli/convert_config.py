"""Configurations of other simulators: what ``mho convert-config`` does."""

from __future__ import annotations

from pathlib import Path

from mho.cells.device import Device
from mho.cli import given
from mho.compat.configs import (
    Translation,
    from_aihwkit,
    from_aihwkit_lightning,
    from_crosssim,
    from_neurosim,
)
from mho.core.files import drafts, save

TOOLS = ("aihwkit", "lightning", "crosssim", "neurosim")


def run(
    what: Path,
    source: str,
    out: Path | None = None,
    *,
    recipe: Path | None = None,
    flags: str | None = None,
    device: str | None = None,
    strict: bool = False,
) -> Translation:
    """Translate a configuration, print the account, write the hardware and the recipe.

    Args:
        what: the file of the configuration.
        source: the simulator it is of, one of `TOOLS`.
        out: where the hardware goes; None prints the account alone.
        recipe: where the recipe goes.
        flags: of NeuroSim's network, as text.
        device: of AIHWKit-Lightning's cells, a preset's name or a file.
        strict: whether to refuse what loses something.

    Returns:
        The translation.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of that simulator, an option is for another one, there is no
            recipe to write, or ``strict`` and something has no counterpart.
    """
    if not what.is_file():
        raise FileNotFoundError(f"there is no file {what}")
    if flags is not None and source != "neurosim":
        raise ValueError(f"--flags are of neurosim, got --from {source}")
    if device is not None and source != "lightning":
        raise ValueError(f"--device is for lightning, got --from {source}, which names its cells")
    found = _translated(what, source, flags, device)
    print(found)
    if strict and found.lost:
        names = ", ".join(entry.setting for entry in found.lost)
        raise ValueError(f"--strict, and {len(found.lost)} settings have no counterpart: {names}")
    if recipe is not None and found.recipe is None:
        raise ValueError(f"--recipe: a configuration of {source} says nothing of training")
    _write(found, out, recipe)
    return found


def _translated(what: Path, source: str, flags: str | None, device: str | None) -> Translation:
    if source == "aihwkit":
        return from_aihwkit(what)
    if source == "lightning":
        cells: Device | None = None if device is None else given.device(device)
        return from_aihwkit_lightning(what, device=cells)
    if source == "crosssim":
        return from_crosssim(what)
    if source == "neurosim":
        return from_neurosim(what, flags)
    raise ValueError(f"--from must be one of {', '.join(TOOLS)}, got {source!r}")


def _write(found: Translation, out: Path | None, recipe: Path | None) -> None:
    asked = ((out, found.hardware), (recipe, found.recipe))
    given = [(path, spec) for path, spec in asked if path is not None and spec is not None]
    targets = [path for path, _ in given]
    with drafts(*targets) as written:
        for draft, (_, spec) in zip(written, given, strict=True):
            save(spec, draft)
    for target in targets:
        print(f"written: {target}")

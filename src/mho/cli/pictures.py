"""Pictures that commands write: their format, and the figure of a fit.

A fit's figure has the picture that each kind of result has, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mho import fit
from mho.core.extras import need

Report = tuple[str, Any, "tuple[Any, Any] | None"]


def format_of(path: Path) -> str:
    """Return the format of a picture by the ending of its file; png if it has none.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if matplotlib does not write it.
    """
    known = need("matplotlib.figure", "viz").Figure().canvas.get_supported_filetypes()
    kind = path.suffix[1:].lower() or "png"
    if kind not in known:
        raise ValueError(f"a picture must end in .{', .'.join(sorted(known))}, got {str(path)!r}")
    return kind


def draw(path: Path, kind: str, name: str, reports: Sequence[Report]) -> None:
    """Draw fits and write the figure.

    Args:
        path: of the file.
        kind: its format.
        name: of what was measured.
        reports: title, fit and its data (None where the fit keeps them), of every picture.

    Raises:
        ImportError: if matplotlib is missing.
    """
    figures = need("matplotlib.figure", "viz")
    from mho.plot.styles import plain, style

    wide = [isinstance(found, _WIDE) for _, found, _ in reports]
    with style():
        size = (sum(10.5 if one else 7.0 for one in wide), 5.2)
        figure = figures.Figure(figsize=size, layout="constrained")
        parts = figure.subfigures(1, len(reports), squeeze=False)[0]
        for part, (title, found, data) in zip(parts, reports, strict=True):
            said = _draw_one(part, found, data)
            part.suptitle(f"{plain(name)}: {title}{said}", fontsize=9)
        figure.savefig(path, format=kind)


_WIDE = (fit.LoopFit, fit.ProgrammingFit, fit.RetentionFit)


def _draw_one(part: Any, found: Any, data: tuple[Any, Any] | None) -> str:
    # Returns what stands in the title of its own: the calibration.
    from mho.plot.loops import loop_fit
    from mho.plot.pulsed import fit_report
    from mho.plot.statistical import programming_fit, retention_fit
    from mho.plot.wafer import spread_report

    if isinstance(found, fit.LoopFit):
        grid = part.add_gridspec(2, 2, width_ratios=(1.9, 1.0))
        places = (grid[:, 0], grid[0, 1], grid[1, 1])
        loop_fit(found, axes=tuple(part.add_subplot(place) for place in places))
        return ""
    if isinstance(found, (fit.ProgrammingFit, fit.RetentionFit)):
        pair = tuple(part.subplots(1, 2))
        if isinstance(found, fit.ProgrammingFit):
            programming_fit(found, axes=pair)
        else:
            retention_fit(found, axes=pair)
        return ""
    top, bottom = part.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    if isinstance(found, fit.CellMapFit):
        spread_report(found, axes=(top, bottom))
    else:
        fit_report(found, data=data, axes=(top, bottom))
    said = top.get_title("left") or top.get_title()
    top.set_title("", loc="left")
    top.set_title("")
    return f"\n{said}" if said else ""

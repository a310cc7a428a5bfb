"""The one way to change what a crossbar is: checked, all at once, undone where it fails.

These functions are the methods of `Crossbar` that bear their names.
"""

# ruff: noqa: D417 (methods of Crossbar: their first argument is it)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mho.cells.population import Cells
from mho.cells.unfabricated import Unfabricated
from mho.core import checks, sharded
from mho.core.modes import settled
from mho.crossbar import converters, learned_ranges
from mho.crossbar.correction import Correction

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar

CORRECTED = ("input_range", "adc_range", "gain", "offset", "reference")


@settled
def commit(
    crossbar: Crossbar,
    *,
    cells: Cells | None = None,
    scale: Tensor | None = None,
    digital: Tensor | None = None,
    correction: Correction | None = None,
    observed: bool | None = None,
) -> None:
    """Change what the crossbar is: checked, then all at once. What is not given stays.

    Args:
        cells: the population, shaped as before.
        scale: ``[]`` or ``[cols]`` (1/S).
        digital: weights of the converters' results per column.
        correction: converter ranges, output correction, drift reference.
        observed: whether reads are to be tiled and unfolded, so that they can be watched.

    Raises:
        TypeError, ValueError: if something is of another kind or shape; nothing is then
            changed.
    """
    if cells is not None:
        checks.instance("cells", cells, (Cells, Unfabricated))
        checks.shape("conductances of the cells", cells.like, tuple(crossbar.cells.shape))
        if cells.behaviours != crossbar.cells.behaviours:
            raise ValueError("cells must be of this crossbar's device and effects")
    if scale is not None:
        checks.shape("scale", scale, tuple(crossbar.scale.shape))
    if digital is not None and crossbar.digital is not None:
        checks.shape("digital", digital, tuple(crossbar.digital.shape))
    if correction is not None:
        checks.instance("correction", correction, Correction)
        _check(crossbar, correction)
    correction = _trimmed(crossbar, cells, correction)
    if isinstance(cells, Cells):
        cells = cells.packed(crossbar.kept_as)
    tensors = {"scale": scale, "digital": digital}
    parts: Any = (crossbar._buffers, crossbar._modules, crossbar._parameters)
    before = [dict(part) for part in parts], crossbar._observed, crossbar._reader
    known = crossbar._parameters["range_shift"]
    shift = None if known is None else known.detach().clone()
    learning = learned_ranges.state(crossbar)
    same = all(part is None for part in (cells, scale, digital, observed))
    keeping = crossbar._reader if crossbar._observed and same else None
    try:
        if cells is not None:
            crossbar._modules["cells"] = cells
        held: Any = crossbar._buffers
        held.update({name: value for name, value in tensors.items() if value is not None})
        if observed is not None:
            crossbar._observed = observed
        population = crossbar.cells
        if population.training is not crossbar.training:
            population.train(crossbar.training)
        if correction is not None:
            crossbar._take(correction)
        crossbar.refresh(keeping=keeping)
        if cells is not None and crossbar._lease is not None:
            crossbar._lease.returned(cells)
    except BaseException:
        contents, crossbar._observed, crossbar._reader = before
        for part, was in zip(parts, contents, strict=True):
            part.clear()
            part.update(was)
        if shift is not None and crossbar.range_shift is not None:
            crossbar.range_shift.detach().copy_(shift)
        learned_ranges.restore(crossbar, learning)
        raise


def _check(crossbar: Crossbar, correction: Correction) -> None:
    """Refuse values of another shape than those there are (TypeError, ValueError)."""
    for name in CORRECTED:
        value, known = getattr(correction, name), crossbar._buffers[name]
        if value is not known and known is not None:
            checks.shape(name, value, tuple(known.shape))
    if correction.shift is not None and crossbar.range_shift is not None:
        checks.shape("shift", correction.shift, tuple(crossbar.range_shift.shape))


def snapshot(crossbar: Crossbar) -> dict[str, Any]:
    """Return what `restore` takes: the crossbar as it is now (tensors are shared)."""
    return {
        "cells": crossbar.cells.fork(),
        "scale": crossbar.scale,
        "digital": crossbar.digital,
        "correction": crossbar.correction,
        "range_shift": crossbar.range_shift,
        "learning": learned_ranges.state(crossbar),
        "lease": crossbar._lease,
        "lent": None if crossbar._lease is None else crossbar._lease.memory(),
        "observed": crossbar.observed,
    }


def restore(crossbar: Crossbar, state: dict[str, Any]) -> None:
    """Be again what one was when `snapshot` was taken; of a chip, its cells as well."""
    crossbar._lease = None
    crossbar.range_shift, crossbar.digital = state["range_shift"], state["digital"]
    learned_ranges.restore(crossbar, state["learning"])
    given = ("cells", "scale", "correction", "observed")
    crossbar.commit(**{name: state[name] for name in given})
    crossbar._lease = state["lease"]
    if crossbar._lease is not None:
        state["lent"]()


def take(crossbar: Crossbar, correction: Correction) -> None:
    """Hold a correction; nothing is checked."""
    like, parameters = crossbar.cells.like, crossbar._parameters
    if parameters["learned_range"] is not None:
        learned_ranges.start_from(crossbar, correction.input_range)
    held: Any = crossbar._buffers
    for name in CORRECTED:
        value = getattr(correction, name)
        if value is not held[name] or value.dtype != like.dtype or value.device != like.device:
            held[name] = _whole(value.to(like))
    trim, shift = correction.trim, correction.shift
    if trim is not None or held["trim"] is not None:
        crossbar.trim = None if trim is None else _whole(trim.detach().to(like))
    if shift is None:
        parameters["range_shift"] = None
    elif crossbar.range_shift is None:
        crossbar.range_shift = nn.Parameter(shift.to(like))
    else:  # an optimizer knows this very parameter
        found = sharded.like(shift.to(like), crossbar.range_shift)
        crossbar.range_shift.detach().copy_(found)


def _trimmed(
    crossbar: Crossbar, cells: Cells | Unfabricated | None, correction: Correction | None
) -> Correction | None:
    """Return a correction without the trim of the converters before, where cells have others."""
    if correction is not None:
        converters.check_trim(crossbar, correction.trim)
    known = crossbar.trim
    if known is None or cells is None or cells.lines_seed == crossbar.cells.lines_seed:
        return correction
    wanted = crossbar.correction if correction is None else correction
    return wanted.replace(trim=None) if wanted.trim is known else correction


def _whole(value: Tensor) -> Tensor:
    """Return a tensor that is no part of a larger one, which it would keep in memory."""
    own = value.numel() * value.element_size()
    return value if value.untyped_storage().nbytes() == own else value.clone()

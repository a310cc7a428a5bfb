"""The life of a crossbar: fabricate, program, store, age. All of it ends in one commit.

These functions are the methods of `Crossbar` that bear their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mho.cells.life import Drawn
from mho.cells.population import Cells
from mho.cells.programming import Programming, Site
from mho.cells.unfabricated import REFUSAL, Unfabricated
from mho.core import checks, random
from mho.core.durations import Duration
from mho.core.modes import settled
from mho.crossbar import huge
from mho.crossbar.correction import Correction
from mho.crossbar.report import Asked, ProgramReport
from mho.crossbar.tiling import Tiling
from mho.crossbar.training import NoiseInjection
from mho.crossbar.undo import all_or_nothing
from mho.crossbar.wires import wired
from mho.encoding.base import Encoding

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


@settled
def reset_parameters(crossbar: Crossbar, seed: int | None = None) -> None:
    """Fabricate all cells anew: another chip of the same kind, not yet programmed.

    A crossbar that lies on a `mho.chip.Chip` leaves it.

    Args:
        seed: of the new chip; by default its randomness goes on from the old chip's.

    Raises:
        TypeError, ValueError: if the seed is refused.
    """
    hardware, old = crossbar.hardware, crossbar.cells
    if seed is None:
        seed = old.next_seed()
    like = old.like
    refuse_meta("the crossbar", like)
    new = hardware.device.cells_type(
        hardware.behaviours, old.shape, seed=seed, dtype=like.dtype, device=like.device
    )
    _move(crossbar, new)


def _move(crossbar: Crossbar, cells: Cells) -> None:
    """Be made of other cells, not yet programmed."""
    never = Correction.none(crossbar.groups * crossbar.cols, len(crossbar.adc_range), cells.like)
    correction = crossbar.correction.of_ranges_alone.replace(reference=never.reference)
    digital = None if crossbar.digital is None else crossbar.even_shares()
    with all_or_nothing([crossbar]):
        crossbar.leave()
        crossbar.commit(cells=cells, digital=digital, correction=correction)


def use_cells(crossbar: Crossbar, cells: Cells, lease: Any) -> None:
    """Move to given cells (of a chip), not yet programmed.

    Args:
        cells: shaped as ``G``.
        lease: told of every change of the cells by ``returned(cells)``, and by ``left()`` when
            the crossbar moves to other cells.

    Raises:
        ValueError: if the crossbar keeps its conductances in half precision.
    """
    if crossbar.kept_as is not None:
        raise ValueError(
            f"this crossbar keeps its cells in {crossbar.kept_as}, a chip does not: convert with "
            "cells_dtype=None"
        )
    _move(crossbar, cells)
    crossbar._lease = lease


def rejoin(crossbar: Crossbar, cells: Cells, lease: Any) -> None:
    """Be again on cells that it lay on before, as they are now; nothing else changes.

    Args:
        cells: shaped as ``G``.
        lease: see `use_cells`.
    """
    with all_or_nothing([crossbar]):
        crossbar._lease = None
        crossbar.commit(cells=cells)
        crossbar._lease = lease


def leave(crossbar: Crossbar) -> None:
    """Leave the chip, if it lies on one: it goes on with a copy of its cells."""
    lease = crossbar._lease
    if lease is None:
        return
    copy = crossbar.cells.fork()
    copy.identity = f"copy of {copy.identity}"
    with all_or_nothing([crossbar]):
        crossbar._lease = None
        crossbar.commit(cells=copy)
        lease.left()


# Not as inference tensors: what is written must serve reads that need gradients.
@settled
def program(
    crossbar: Crossbar,
    weight: Tensor,
    programming: Programming | None = None,
    *,
    seed: int | None = None,
    name: str = "",
) -> ProgramReport:
    """Write a weight matrix to the cells; the clock of aging starts again.

    Converter ranges stay as calibrated; the output correction, made for other cells, does not.

    Args:
        weight: ``[groups · rows, cols]``, finite.
        programming: how, if not as the hardware says.
        seed: of what is random in it; by default the crossbar's own stream goes on.
        name: what warnings call the crossbar.

    Returns:
        What was asked for, what is stored and what it took.

    Raises:
        TypeError, ValueError: if the weight is of another kind or shape, or not finite; the
            crossbar is then unchanged, as after any other error.
    """
    checks.shape("weight", weight, (crossbar.groups * crossbar.rows, crossbar.cols))
    refuse_meta("weight", weight)
    checks.real("weight", weight)
    checks.finite("weight", weight)
    if programming is None:
        programming = crossbar.hardware.policy
    else:
        checks.instance("programming", programming, Programming)
        programming.check(crossbar.hardware.device)
        programming.check_encoding(crossbar.hardware.encoding)
    with all_or_nothing([crossbar]):
        return _programmed(crossbar, weight, programming, seed, name)


def _programmed(
    crossbar: Crossbar, weight: Tensor, programming: Programming, seed: int | None, name: str
) -> ProgramReport:
    if crossbar.scale.is_meta:
        crossbar.arrive(weight.device)
    future: Any = crossbar.cells
    cells: Cells = future.fabricate() if isinstance(future, Unfabricated) else future.live()
    asked_for = weight.detach().clone()
    weight = asked_for.to(cells.g)
    if seed is not None:
        cells.rng.copy_(random.stream(seed))
    target, scale = crossbar.encode(weight)
    huge.refuse_programming(scale, crossbar.hardware)
    known = cells.drawn()
    target, digital = crossbar.suited(target, known)
    tiling = Tiling.of(cells.g, crossbar.groups, crossbar.hardware.array)
    written = cells.program(target, programming, site=_site(crossbar, tiling, digital, name))
    stands_for = crossbar.hardware.encoding.decode(cells.g, scale, digital)
    reference = crossbar.reference_of(cells, scale, digital, stands_for)
    correction = crossbar.correction.of_ranges_alone.replace(reference=reference)
    size = float(torch.linalg.vector_norm(weight))
    error = float(torch.linalg.vector_norm(stands_for - weight))
    broken = 0.0 if cells.broken_at is None else len(cells.broken_at) / cells.g.numel()
    relative = error / size if size else error
    cells = cells.packed(crossbar.kept_as)
    # A fork: later changes of the cells must not rewrite the report, nor the report the cells.
    asked = Asked(asked_for, crossbar.hardware, crossbar.groups, known.broken)
    report = ProgramReport(asked, cells.fork(), relative, broken, written, programming, tiling)
    crossbar.commit(cells=cells, scale=scale, digital=digital, correction=correction)
    return report


@settled
def age(crossbar: Crossbar, seconds: Duration, reads: float = 0.0) -> None:
    """Let time pass, and reads happen.

    Args:
        seconds: how long (s), >= 0; adds to the time since programming.
        reads: of every cell in that time, >= 0; see `mho.age`.

    Raises:
        TypeError, ValueError: if one is not a non-negative number, or there are reads and nothing
            goes by them.
    """
    cells = crossbar.cells.live()
    cells.age(seconds, reads)
    if crossbar.kept_as is not None and any(b.acts_on("age") for b in cells.behaviours):
        cells = cells.packed(crossbar.kept_as, by_chance=True)
    crossbar.commit(cells=cells)


@settled
def store(crossbar: Crossbar, g: Tensor, *, scale: Tensor | None = None) -> None:
    """Set the conductances of all healthy cells directly, past every effect.

    The clock of aging starts again, and the output correction ends, as after `program`.

    Args:
        g: shaped like ``G`` (S), finite and >= 0.
        scale: ``[]`` or ``[cols]`` (1/S), if it is to be another.

    Raises:
        TypeError, ValueError: if the conductances are refused; nothing is then changed.
    """
    cells = crossbar.cells.live()
    checks.shape("g", g, tuple(cells.shape))
    checks.real("g", g)
    checks.finite("g", g)
    if float(g.min()) < 0:
        raise ValueError(f"g must be >= 0 S, got {float(g.min())!r}")
    if scale is not None:
        checks.shape("scale", scale, tuple(crossbar.scale.shape))
        checks.real("scale", scale)
        checks.finite("scale", scale)
    cells.hold(g.detach().to(cells.like, copy=True))
    cells.count(1)
    cells.seconds = 0.0
    crossbar.settle(cells, scale)


def settle(crossbar: Crossbar, cells: Cells, scale: Tensor | None = None) -> None:
    """Take cells as just programmed: the output correction ends, drift is measured from now.

    Args:
        cells: shaped like ``G``.
        scale: ``[]`` or ``[cols]`` (1/S), if it is to be another.
    """
    reference = crossbar.reference_of(
        cells, crossbar.scale if scale is None else scale, crossbar.digital
    )
    correction = crossbar.correction.of_ranges_alone.replace(reference=reference)
    crossbar.commit(cells=cells, scale=scale, correction=correction)


@settled
def arrive(crossbar: Crossbar, device: torch.device) -> None:
    """Leave the meta device, not yet fabricated: nothing is set, nothing calibrated.

    Cells that there were are gone, as their values are; a chip that lent them keeps its own.
    """
    future: Any = crossbar.cells
    if isinstance(future, Cells):
        crossbar._lease, lease = None, crossbar._lease
        if lease is not None:
            lease.left()
        kind = future.like.dtype
        future = Unfabricated(
            future.behaviours, future.shape, seed=crossbar._next_seed, dtype=kind, device="meta"
        )
    cells = future.on(device)
    correction = Correction.none(
        crossbar.groups * crossbar.cols, len(crossbar.adc_range), cells.like
    )
    scale = torch.ones_like(crossbar.scale, device=device)
    crossbar.cells = cells
    for counted in (crossbar.range_batches, crossbar.range_pending):
        if counted is not None:
            counted.zero_()
    digital = None if crossbar.digital is None else crossbar.even_shares()
    crossbar.commit(scale=scale, digital=digital, correction=correction)


def inject_noise(crossbar: Crossbar, injection: NoiseInjection) -> None:
    """Set what training reads see beyond the hardware.

    Args:
        injection: see `mho.train.NoiseInjection`.

    Raises:
        TypeError, ValueError: if it is of another kind, or says reads where nothing goes by them.
    """
    checks.instance("injection", injection, NoiseInjection)
    injection.refuse_on(crossbar.hardware)
    if injection.own_cells and not crossbar.fabricated:
        raise ValueError(f"NoiseInjection(own_cells=True) is of cells that exist: {REFUSAL}")
    crossbar._injection = injection
    crossbar.refresh()


def refuse_meta(name: str, tensor: Tensor) -> None:
    """Refuse to program what is not there yet (ValueError)."""
    if tensor.is_meta:
        raise ValueError(
            f"{name} is on the meta device: materialise the layer first (model.to_empty(device=...)"
            " and load_state_dict, or load_state_dict(assign=True))"
        )


def encode(crossbar: Crossbar, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return target conductances (S) and scale (1/S) of weights ``[groups · rows, cols]``."""
    return crossbar.hardware.encoding.encode(weight, *crossbar.hardware.device.window)


def suited(crossbar: Crossbar, target: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor | None]:
    """Let an encoding that knows broken cells make the best of them; see `Encoding.suit`."""
    encoding = crossbar.hardware.encoding
    if not encoding.defect_aware:
        return target, None
    stuck, stuck_g = (None, None) if drawn.broken is None else drawn.broken.dense(target)
    window = crossbar.hardware.device.window
    found, digital = encoding.suit(target, stuck, stuck_g, crossbar.groups, *window)
    return found, crossbar.even_shares() if digital is None else digital.to(target)


def _site(crossbar: Crossbar, tiling: Tiling, digital: Tensor | None, name: str) -> Site:
    encoding, array, groups = crossbar.hardware.encoding, crossbar.hardware.array, crossbar.groups
    return Site(
        arrays=lambda: tiling.places(crossbar.scale.device),
        wires=lambda g: wired(g, array, groups),
        # Currents, whatever is made of them.
        converted=lambda g: Encoding.converted(encoding, g),
        assembled=lambda results: encoding.assemble(results, digital),
        groups=groups,
        rows=crossbar.rows,
        height=tiling.height,
        name=name,
        combination=encoding.combination,
    )

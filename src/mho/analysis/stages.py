"""One crossbar, read again and again, each time with one more stage of the chain in it.

    weight ─encoding─programming─broken cells─drift─wires─▶ matrices, multiplied exactly
    ─conduction─input conversion─amplifier─ADC range─ADC codes─read noise─correction─▶ real reads

What a stage adds is the difference between two neighbours. Nothing here changes the crossbar; its
reads go on in its stream of randomness.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.population import Cells
from mho.crossbar.crossbar import Crossbar
from mho.hardware import Hardware
from mho.model.quiet import is_noisy
from mho.periphery.adc import ADC

CAUSES = (
    "encoding",
    "programming",
    "broken cells",
    "drift",
    "read effects",
    "wires",
    "conduction",
    "input conversion",
    "amplifier",
    "ADC range",
    "ADC codes",
    "read noise",
    "correction",
)
"""Stages in the order in which a weight, then an input, goes through them."""

_FINEST = 24  # bits of a converter whose codes do not matter


def outputs(crossbar: Crossbar, weight: Tensor, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the outputs of a crossbar after each stage that its hardware has.

    Args:
        crossbar: programmed.
        weight: it is to hold ``[groups · rows, cols]``.
        x: inputs ``[vectors, groups · rows]``.

    Yields:
        Names, and outputs ``[vectors, groups · cols]``: first ``("exact", x @ weight)``, then one
        for each of `CAUSES` that there is, all earlier ones in it.
    """
    groups = crossbar.groups
    yield "exact", product(x, weight, groups)
    y = x
    for cause, matrix in _matrices(crossbar, weight):
        y = product(x, matrix, groups)
        yield cause, y
    for cause, twin in _reads(crossbar):
        y = twin.reader.read(x, twin.reader.stored)
        yield cause, y
    if crossbar.reader.corrected:
        yield "correction", y * crossbar.gain + crossbar.offset


def product(x: Tensor, matrix: Tensor, groups: int) -> Tensor:
    """Return the exact product ``[vectors, groups · cols]``.

    Args:
        x: ``[vectors, groups · rows]``.
        matrix: ``[groups · rows, cols]``.
        groups: how many equal matrices lie side by side.
    """
    by_group = x.unflatten(-1, (groups, -1)).transpose(0, 1)
    one_each = matrix.to(x.dtype).unflatten(0, (groups, -1))
    return torch.bmm(by_group, one_each).transpose(0, 1).flatten(1)


def _matrices(crossbar: Crossbar, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights that the cells stand for, from what is asked of them to what reads see."""
    encoding, cells = crossbar.hardware.encoding, crossbar.cells.live()
    asked, scale = crossbar.encode(weight.to(crossbar.scale.dtype))
    yield "encoding", encoding.decode(asked, scale, _even_shares(crossbar))
    written, aged = _written(cells, asked)
    stuck = cells.stuck
    if stuck is not None and not encoding.defect_aware:
        yield "programming", crossbar.decode(torch.where(stuck, asked, written))
        yield "broken cells", crossbar.decode(written)
    else:
        # An encoding that knows the broken cells asks the others to make up for them.
        yield "programming", crossbar.decode(written)
    if aged:
        yield "drift", crossbar.decode(cells.g)
    if any(b.acts_on("read") for b in cells.behaviours):
        yield "read effects", crossbar.decode(life.shown(cells.g, cells.drawn("read")))
    if not crossbar.hardware.array.wires.ideal:
        yield "wires", crossbar.effective_weight


def _written(cells: Cells, asked: Tensor) -> tuple[Tensor, bool]:
    """Return what cells held when they were written (S), and whether they have aged since.

    Most cells do not keep it. Then a copy that holds exactly what was asked for ages as they did,
    and what they hold now is scaled back by what that did to it: exact for laws that scale
    conductances, as the power law of drift does; else to the first order in the errors of writing.
    """
    if cells.written is not None:
        return cells.written, True
    if cells.seconds == 0.0 and cells.reads == 0.0:
        return cells.g, False
    if not any(b.acts_on("age") for b in cells.behaviours):
        return cells.g, False
    twin = cells.fork()
    twin.hold(twin.spec.reach(asked, twin.parameters_drawn()).clone())
    twin.seconds = 0.0
    start = twin.g
    twin.age(cells.seconds, cells.reads)
    kept = torch.where(twin.g > 0.0, start / twin.g, 1.0)
    return cells.g * kept, True


def _even_shares(crossbar: Crossbar) -> Tensor | None:
    """Return what converters' results count by before anything is known of broken cells."""
    return crossbar.even_shares() if crossbar.hardware.encoding.defect_aware else None


def _reads(crossbar: Crossbar) -> Iterator[tuple[str, Crossbar]]:
    """Yield twins of a crossbar that are read with ever more of its circuits."""
    whole = crossbar.hardware
    bare = whole.replace(dac=whole.drive.exact, adc=None, amplifier=None)
    if not whole.device.ohmic:
        yield "conduction", twin_of(crossbar, bare)
    driven = whole.replace(adc=None, amplifier=None)
    drive = whole.drive
    if not drive.ideal or drive.errs or drive.pulses is not None:
        yield "input conversion", twin_of(crossbar, driven)
    if whole.amplified is not None:
        yield "amplifier", twin_of(crossbar, whole.replace(adc=None))
    if whole.adc is not None:
        finest = _finest(whole.adc)
        if finest is not None:
            yield "ADC range", twin_of(crossbar, whole.replace(adc=finest))
        yield "ADC codes", twin_of(crossbar, whole)
    if is_noisy(whole) and not crossbar.quiet:
        # Itself: what noise its wires make of the cells' has been worked out for it.
        yield "read noise", crossbar


def _finest(adc: ADC) -> ADC | None:
    """Return a converter that clips as this one does and rounds nothing; None if it never clips."""
    if not adc.ranged or adc.bits == 1 or adc.range in ("per_vector", "per_call"):
        return None
    return adc.replace(bits=_FINEST, architecture=None, columns_per_adc=1)


def twin_of(crossbar: Crossbar, hardware: Hardware) -> Crossbar:
    """Return a crossbar with the same cells and corrections behind other circuits, without noise.

    Args:
        crossbar: whose cells and buffers it shares; it notices nothing.
        hardware: of the same device, encoding, array and effects.
    """
    twin = Crossbar.__new__(Crossbar)
    vars(twin).update(vars(crossbar))
    twin._buffers, twin._parameters = dict(crossbar._buffers), dict(crossbar._parameters)
    twin._modules = dict(crossbar._modules)
    twin.hardware, twin.quiet, twin.circuits = hardware, True, dict(crossbar.circuits)
    twin._reader, twin._lumped, twin._lease = None, None, None
    twin.training, twin._observed = False, False
    return twin

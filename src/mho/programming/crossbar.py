"""Write–verify of a whole crossbar: its own cells, its own tiles, its own faults."""

from __future__ import annotations

from torch import Tensor

from mho.core import checks
from mho.crossbar import Crossbar
from mho.crossbar.report import ProgramReport
from mho.programming.report import WriteReport
from mho.programming.scheme import WriteVerify


def program_crossbar(
    crossbar: Crossbar, weight: Tensor, scheme: WriteVerify | None = None, *, seed: int = 0
) -> tuple[ProgramReport, WriteReport]:
    """Write a weight matrix to a crossbar by write–verify, whatever its hardware says.

    The same as ``crossbar.program(weight, scheme, seed=seed)``, with the whole account of the
    pulses; see `WriteVerify`.

    Args:
        crossbar: of a voltage-driven or pulse-count device.
        weight: ``[groups · rows, cols]``, finite.
        scheme: what to do; one that fits the device if not given.
        seed: of read noise and of what differs from pulse to pulse.

    Returns:
        What was asked for and is stored, as `Crossbar.program` tells it; and what it took, with
        tensors shaped like ``crossbar.G``.

    Raises:
        TypeError, ValueError: if an argument is refused, or the device takes no pulses.
        ProgrammingError: if cells failed and the scheme says to raise. In every case of an error
            the crossbar is unchanged.
    """
    checks.instance("crossbar", crossbar, Crossbar)
    scheme = WriteVerify() if scheme is None else scheme
    checks.instance("scheme", scheme, WriteVerify)
    programmed = crossbar.program(weight, scheme, seed=seed)
    return programmed, programmed.written.report

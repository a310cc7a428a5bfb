"""How much memory the reads of a model may take."""

from __future__ import annotations

from torch import nn

from mho.crossbar.blocks import checked
from mho.model.crossbars import crossbars


def limit_memory(model: nn.Module, memory: float) -> None:
    """Set what every read of a crossbar may take beside its inputs and outputs.

    A read that would take more goes block by block, with the same results up to rounding and the
    order in which noise is drawn: the currents of a large batch, of many bit planes, slices and
    tiles are never all there at once. Gradients keep at most a quarter of the limit from each read
    and work out the rest anew. Limits down to some ten megabytes cost a third more time at most;
    smaller ones cost more, as blocks become too small for what every call costs (measured in
    ``docs/scale.md``): at 100 kB a read of a few images takes some forty times as long. A limit
    below what a single vector needs is exceeded by that vector alone.

    The limit is kept by copies and pickles of the model. A new model has 256 MB on a CPU, and a
    sixteenth of its device's memory on an accelerator, where many small blocks cost more than they
    compute: every operation has to be launched. (Processes that share one should say less.) It does
    not hold where torch follows the
    operations to make a graph of them (``torch.compile``, ``torch.export``, ``torch.func``), which
    decides itself what is kept.

    Args:
        model: a converted model, or any module with crossbars.
        memory: bytes, >= 1; a whole number, as ``64e6`` is, too.

    Raises:
        TypeError, ValueError: if the model has no crossbars, or ``memory`` is no positive
            whole number.

    Example:
        >>> import torch, mho
        >>> analog = mho.convert(torch.nn.Linear(64, 10), mho.Hardware(adc=mho.ADC(bits=8)))
        >>> mho.limit_memory(analog, 64e6)
    """
    memory = checked(memory)
    for crossbar in crossbars(model).values():
        crossbar.limit_memory(memory)

"""A large read in bounded memory: what its blocks share, and what one of them is driven with."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from mho.crossbar import blocks
from mho.crossbar.blocks import Plan, Slab, Vectors
from mho.crossbar.readout import Readout
from mho.hardware import Hardware
from mho.periphery import ADC


@dataclass(eq=False)
class Job:
    """One read: all but the tensors that gradients go through.

    Attributes:
        readout: the array.
        hardware: what it is made of.
        vectors: where they are in the inputs.
        plan: the blocks.
        limit: input magnitude of the largest voltage; None: each vector's own.
        full_scale: of the ADC (A) ``[converters]``; None: measured.
        stream: of noise; None where there is none.
        ranges: what was measured, by block; or for the whole call.
        places: where the stream was at the start of each block.
        follows: whether gradients will be asked for.
        clipped: by block, for each of its pieces which currents were clipped by some converter,
            ``[pulses, vectors]``; where gradients need it, of blocks with any.
    """

    readout: Readout
    hardware: Hardware
    vectors: Vectors
    plan: Plan
    limit: Tensor | float | None
    full_scale: Tensor | None
    stream: Tensor | None
    ranges: dict[int, Tensor] = field(default_factory=dict)
    places: dict[int, Tensor] = field(default_factory=dict)
    follows: bool = False
    clipped: dict[int, list[Tensor]] = field(default_factory=dict)

    @property
    def adc(self) -> ADC | None:
        """The converters."""
        return self.hardware.adc

    @property
    def measures(self) -> bool:
        """Whether the range of the currents has to be measured."""
        return self.adc is not None and self.readout.step is None and self.full_scale is None

    @property
    def by_call(self) -> bool:
        """Whether it is measured over the whole call."""
        return self.measures and self.adc is not None and self.adc.range == "per_call"

    @property
    def passes(self) -> bool:
        """Whether a current's gradient is that of its result, but where it was clipped.

        The host looks at which those are: on an accelerator it would have to wait for them.
        """
        if self.readout.matrix.device.type != "cpu":
            return False
        return self.adc is None or (self.adc.on_grid and self.readout.converters is None)

    @property
    def clips(self) -> bool:
        """Whether a current may be out of the converters' range."""
        adc = self.adc
        symmetric = adc is not None and adc.method == "uniform" and adc.rest == 0.5
        return adc is not None and not (self.measures and symmetric)


def driven(part: Tensor, slab: Slab, job: Job) -> tuple[Tensor, Tensor | float]:
    """Return levels ``[groups, vectors, rows]``, and the input that is the largest voltage."""
    drive, vectors = job.hardware.drive, job.vectors
    limit = blocks.limit_of(slab, job.limit, vectors.number)
    if not vectors.raw:
        assert limit is not None
        return vectors.unfold(drive.to_levels(part, limit)), limit
    rows = vectors.unfold(part)
    if limit is None:
        limit = drive.measure(rows, (0, 2))
    return drive.to_levels(rows, limit), limit


def factor(limit: Tensor | float, job: Job) -> Tensor:
    """Return what assembled results are multiplied by, those of a block."""
    drive, unit = job.hardware.drive, job.hardware.drive.step_per_range
    found = job.readout.scale * (limit * unit)
    return found / drive.joint_step if drive.converts_once else found


def place(slab: Slab, job: Job) -> Tensor | None:
    """Return the stream of noise as it was at the start of a block."""
    return None if job.stream is None else job.places[slab.start].clone()


def full_scale_of(slab: Slab, job: Job) -> Tensor | None:
    """Return the full scale ``[…, converters, 1]`` of a block; two ends for min–max methods."""
    if job.adc is None or job.readout.step is not None:
        return None
    if job.full_scale is not None:
        return job.full_scale.view(1, 1, -1, 1)
    return job.ranges[-1 if job.by_call else slab.start]

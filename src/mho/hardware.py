"""Hardware: what a chip is made of. The one object a user configures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mho.cells.behaviour import Behaviour
from mho.cells.device import Device
from mho.cells.programming import Programming
from mho.cells.spread import refuse_shared
from mho.circuit import Wires
from mho.core import checks, files
from mho.core.spec import Spec, derived, derived_late
from mho.devices.linear import LinearDevice
from mho.effects.base import Effect
from mho.encoding.base import Encoding
from mho.encoding.differential import Differential
from mho.periphery.adc import ADC
from mho.periphery.amplifier import Amplifier
from mho.periphery.dac import DAC
from mho.periphery.pulses import PulseWidth

BIASES = ("digital", "array")
_IDEAL_DRIVE = DAC()


@dataclass(frozen=True)
class Array(Spec):
    """The physical array of one tile. Matrices larger than it take several tiles.

    Attributes:
        rows: word lines (inputs) of a tile, >= 1.
        cols: bit lines (outputs) of a tile, >= 1.
        wires: resistances of its lines; ideal by default. They are solved exactly, once per
            change of the cells, for the cells' low-voltage conductances. Where these are not
            ohmic that is a linearised read: each attenuated conductance meets the ``f(v)`` (or
            the bend, see `mho.crossbar.expansion`) of the voltage driven, not of that at the cell.
            `mho.Crossbar.expansion_error` estimates what that costs.
        interleaved: whether the slices of an output (a differential pair) are neighbouring
            columns on the same word lines, instead of lying in arrays of their own.
        solve_every: in training, wires are solved anew (with their exact gradient) for every so
            many versions of the weights, >= 1; in between each cell keeps its last attenuation,
            which no checkpoint holds: a run that is resumed solves them anew.
            Read noise behind wires is found anew in every 50th solution.
        exact_reads: whether reads of stored cells that are not ohmic solve the circuit of every
            tile for every input instead, by Newton's method (exact for nominal cells; seconds for
            what takes milliseconds). Training reads and transposed reads stay linearised. Ohmic
            cells, and reads without wires, are exact anyway.
        whole_lines: whether a tile that a matrix fills only in part has the lines of the whole
            array, as on a chip. The matrix lies at the first word lines and the first bit lines;
            the cells beside it are switched off, and their segments are in series with its own
            where currents pass them. By default lines are as long as the matrix needs.
    """

    rows: int = 128
    cols: int = 128
    wires: Wires = field(default_factory=Wires)
    interleaved: bool = False
    solve_every: int = 1
    exact_reads: bool = False
    whole_lines: bool = False

    def __post_init__(self) -> None:
        checks.integer("Array rows", self.rows)
        checks.integer("Array cols", self.cols)
        checks.instance("Array wires", self.wires, Wires)
        checks.integer("Array solve_every", self.solve_every)
        if self.wires.gated:
            raise ValueError(
                "Array wires must not be gated: a gated array's currents are no fixed matrix "
                "times its inputs; see mho.circuit.solve_gated"
            )
        if self.whole_lines and self.wires.drive == "both":
            raise ValueError(
                "Array whole_lines needs wires with drive 'left' or 'right', got 'both': the ends "
                "of a line that is used in part are not alike"
            )

    def wires_of(self, rows: int, cols: int) -> Wires:
        """Return the wires of a tile of which so many word lines and bit lines are in use."""
        wires = self.wires
        if not self.whole_lines:
            return wires
        below = (self.rows - rows) * wires.bit if wires.read == "bottom" else 0.0
        beside = (self.cols - cols) * wires.word if wires.drive == "right" else 0.0
        return wires.replace(source=wires.source + beside, sense=wires.sense + below)


@dataclass(frozen=True)
class Hardware(Spec):
    """What a crossbar is made of, from the cell to the converters.

    Attributes:
        device: what one cell does.
        encoding: how weights become conductances.
        array: size of a tile.
        programming: how cells come to hold what they are asked to (`mho.programming`): ``Exact()``,
            ``Statistical()``, ``OpenLoop()``, ``WriteVerify(…)`` or ``ProductDescent(…)``. None is
            the device's own way: pulse-count devices open loop, statistical ones by their
            statistics, voltage-driven ones exactly. `mho.summary` says which.
        dac: word-line drivers; None is an ideal one.
        adc: bit-line converters; None reads currents exactly.
        effects: non-idealities, applied in this order within each stage.
        bias: where a layer's bias is added: ``"digital"`` (after the array) or ``"array"`` (an
            extra word line driven by a constant input of 1).
        amplifier: what every line's current goes through before it is converted (or read exactly),
            with its errors; None is an ideal one. Reads the other way, ``crossbar.T``, are refused
            with one: it stands at the bit lines.

    Raises:
        TypeError: if a part is not of its kind.
    """

    device: Device = field(default_factory=LinearDevice)
    encoding: Encoding = field(default_factory=Differential)
    array: Array = field(default_factory=Array)
    dac: DAC | None = None
    adc: ADC | None = None
    effects: tuple[Effect, ...] = ()
    bias: str = "digital"
    programming: Programming | None = None
    amplifier: Amplifier | None = None

    def __post_init__(self) -> None:
        checks.instance("device", self.device, Device)
        checks.instance("encoding", self.encoding, Encoding)
        checks.instance("array", self.array, Array)
        if self.dac is not None:
            checks.instance("dac", self.dac, DAC)
        if self.adc is not None:
            checks.instance("adc", self.adc, ADC)
        if self.amplifier is not None:
            checks.instance("amplifier", self.amplifier, Amplifier)
            self._check_lines(self.amplifier)
            refuse_shared(self.amplifier)
        self._check_converters()
        checks.instance("effects", self.effects, (tuple, list))
        object.__setattr__(self, "effects", tuple(self.effects))
        for effect in self.effects:
            checks.instance("every effect", effect, Effect)
            refuse_shared(effect)
        if self.programming is not None:
            if not isinstance(self.programming, Programming):
                raise TypeError(
                    "programming must be a policy of mho.programming (Exact(), Statistical(), "
                    f"OpenLoop(), WriteVerify(…), ProductDescent(…)), got {self.programming!r}"
                )
            self.programming.check(self.device)
            self.programming.check_encoding(self.encoding)
        checks.one_of("bias", self.bias, BIASES)
        self.encoding.refuse(self)
        if self.drive.pulses is not None:
            self._check_pulses(self.drive.pulses)
        limit = self.drive.range
        if self.bias == "array" and not isinstance(limit, str) and limit < 1:
            raise ValueError(
                f"bias on the array is driven by a constant input of 1, beyond DAC range {limit!r}"
            )
        if self.array.interleaved and self.encoding.slices > self.array.cols:
            raise ValueError(
                f"interleaved needs Array cols >= the encoding's {self.encoding.slices} slices, "
                f"got {self.array.cols}"
            )

    def _check_converters(self) -> None:
        built = None if self.adc is None else self.adc.architecture
        if built is not None:
            refuse_shared(built)
        if self.adc is not None and self.adc.columns_per_adc > self.array.cols:
            raise ValueError(
                f"ADC columns_per_adc must be <= Array cols {self.array.cols}, got "
                f"{self.adc.columns_per_adc}"
            )
        if self.drive.errors is None:
            return
        refuse_shared(self.drive.errors)
        if self.drive.errs and not self.device.ohmic:
            raise ValueError(
                f"DAC errors are for cells whose current is g · v, not {self.device}: the bend of "
                "a current goes by the voltage that each driver gives"
            )

    def _check_lines(self, amplifier: Amplifier) -> None:
        wanted = self.array.cols * self.encoding.converters
        for name, count in amplifier.per_line.items():
            if self.array.interleaved:
                raise ValueError(
                    f"Amplifier {name} for every bit line needs arrays that are not interleaved"
                )
            if count != wanted:
                raise ValueError(
                    f"Amplifier {name} must have one value for each of the {wanted} lines of a "
                    f"tile (Array cols, for each converter of an output), got {count}"
                )

    def _check_pulses(self, pulses: PulseWidth) -> None:
        device, wires = self.device, self.array.wires
        if (pulses.rise or pulses.fall) and not device.ohmic:
            raise ValueError(
                f"PulseWidth rise and fall must be 0 for cells that are not ohmic, got {pulses} "
                f"for {device}"
            )
        if pulses.v_idle and not device.separable:
            raise ValueError(
                f"PulseWidth v_idle must be 0 for cells whose current does not separate into "
                f"conductance and voltage, got {pulses.v_idle!r} for {device}"
            )
        if pulses.idle != "floating" or wires.ideal:
            return
        if wires.drive == "both":
            raise ValueError(
                "Wires drive must be 'left' or 'right' where lines float between pulses, got 'both'"
            )
        if not device.ohmic:
            raise ValueError(
                "PulseWidth idle must be 'driven' for cells that are not ohmic, with wires, got "
                f"'floating' for {device}"
            )
        if self.drive.errs:
            raise ValueError(
                "PulseWidth idle must be 'driven' for drivers with errors, with wires, got "
                f"'floating' for {self.drive}"
            )
        noisy = [b for b in self.behaviours if b.acts_on("read_std")]
        if noisy:
            raise ValueError(
                "PulseWidth idle must be 'driven' for white read noise behind wires, got "
                f"'floating' with {noisy[0]}"
            )

    @derived
    def by_tile(self) -> bool:
        """Whether the current of every tile matters, and not their sum alone."""
        pulses = self.drive.pulses
        if pulses is not None and pulses.full_charge is not None:
            return True
        return self.adc is not None or self.amplified is not None or self._offset_lines

    @property
    def _offset_lines(self) -> bool:
        """Whether lines that are driven with 0 are not at 0 V."""
        return self.drive.errors is not None and self.drive.errors.offsets

    @property
    def one_way(self) -> str | None:
        """Say what parts with errors stand at lines of one kind; None where there are none."""
        if self.amplified is not None:
            return "amplifier stands at the bit lines: use hardware.replace(amplifier=None)"
        if self.adc is not None and self.adc.errs:
            return "converters with errors stand at the bit lines: use an ADC without architecture"
        if self.drive.errs:
            return "drivers with errors stand at the word lines: use a DAC without errors"
        return None

    @derived
    def amplified(self) -> Amplifier | None:
        """The amplifier, where there is one that does anything."""
        return None if self.amplifier is None or self.amplifier.ideal else self.amplifier

    @property
    def policy(self) -> Programming:
        """How cells are programmed, the device's own way where none is given."""
        return self.device.programming if self.programming is None else self.programming

    @derived
    def drive(self) -> DAC:
        """The drivers, ideal where none are given."""
        return self.dac or _IDEAL_DRIVE

    @derived_late
    def saved(self) -> dict[str, Any]:
        """What `to_dict` returns, one dict for all who compare with it; not to be changed."""
        return self.to_dict()

    @property
    def behaviours(self) -> tuple[Behaviour, ...]:
        """All that acts on the cells: the device itself, then the effects."""
        return (self.device, *self.effects)


def load_hardware(path: str | Path) -> Hardware:
    """Read hardware from a YAML file, as `save_hardware` writes it.

    Args:
        path: of the file. ``type`` may be left out at the top.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not YAML, a key is unknown or a value is refused.
        TypeError: if a part is of another kind than its place asks for.
    """
    return files.load(path, Hardware)


def save_hardware(hardware: Hardware, path: str | Path) -> None:
    """Write hardware to a YAML file that `load_hardware` reads back, equal.

    Args:
        hardware: what to write.
        path: where to; an existing file is replaced.
    """
    checks.instance("hardware", hardware, Hardware)
    files.save(hardware, path)

"""What a chip is made of around its cells: circuits, how many of them there are, who uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mho.analysis.components.base import Component, Estimate
from mho.analysis.components.scaling import AtNode
from mho.analysis.estimates import combine, slowest
from mho.analysis.timing import Levels, Sent, Timing
from mho.core import checks
from mho.core.spec import Spec

if TYPE_CHECKING:
    from mho.chip.cores import Cores
    from mho.hardware import Hardware

ROLES = (
    "cells", "lines", "drivers", "converters", "digital sums", "activations", "buffers",
    "interconnect", "control", "amplifiers",
)  # fmt: skip
"""What circuits do. All but amplifiers, which not every chip has, are missed where no part does."""

RESERVED = ("cells", "lines", "rewriting")
"""Names of what is computed."""

REQUIRED = ("drivers", "converters")

PLACES = ("row", "line", "converter", "array", "core", "chip")
"""Of what there can be one (or several) each: word line, bit line, converter, array, core, chip."""

USES = (
    "drive", "phase", "sample", "pulse", "step", "conversion", "read", "input", "input bit",
    "output", "output bit", "inference",
)  # fmt: skip
"""What a part can be used by, see `Part`."""


@dataclass(frozen=True)
class Part(Spec):
    """One kind of circuit on a chip.

    Attributes:
        name: of it, one of its kind in an architecture.
        roles: what it does, of `ROLES`: one, or several where published figures cover several.
        component: what one of it costs; None: it is there, but what it costs is not known.
        each: of what there is one: ``"row"`` (word line of an array), ``"line"`` (bit line),
            ``"converter"`` (which bit lines share), ``"array"``, ``"core"`` or ``"chip"``.
        count: how many there are each, > 0.
        use: what uses it: ``"drive"`` (a word line is driven once), ``"phase"`` (a bit line is
            read), ``"sample"``, ``"pulse"``, ``"step"`` (of a bit line, see `Timing`),
            ``"conversion"`` (of a bit line), ``"read"`` (of an array, for one vector), ``"input"``
            or ``"output"`` (a number that a layer takes or gives, once a vector), ``"input bit"``
            or ``"output bit"`` (as often as these have bits), ``"inference"``; or None: it is used
            by nothing (area and leakage alone).
        uses: how often each time, > 0; half where two share one use.
        follows: the model's bits that replace the component's own: ``"input"`` (of one drive: one
            bit of bit-serial inputs) or ``"output"``; None: they stay.
        in_path: whether a vector waits for it once; else it works while arrays do.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    name: str
    roles: tuple[str, ...]
    component: Component | None
    each: str = "array"
    count: float = 1.0
    use: str | None = None
    uses: float = 1.0
    follows: str | None = None
    in_path: bool = False

    def __post_init__(self) -> None:
        checks.instance("Part name", self.name, str)
        if self.name in RESERVED:
            raise ValueError(
                f"Part name must not be {self.name!r}, which is what is computed from the model; "
                f"its role may be"
            )
        checks.instance(f"roles of part {self.name!r}", self.roles, (tuple, list))
        object.__setattr__(self, "roles", tuple(self.roles))
        if not self.roles:
            raise ValueError(f"roles of part {self.name!r} must name one at least, got none")
        for role in self.roles:
            checks.one_of(f"role of part {self.name!r}", role, ROLES)
        if self.component is not None:
            checks.instance(f"component of part {self.name!r}", self.component, Component)
        checks.one_of(f"each of part {self.name!r}", self.each, PLACES)
        checks.number(f"count of part {self.name!r}", self.count, above=0.0)
        if self.use is not None:
            checks.one_of(f"use of part {self.name!r}", self.use, USES)
        checks.number(f"uses of part {self.name!r}", self.uses, above=0.0)
        checks.one_of(f"follows of part {self.name!r}", self.follows, (None, "input", "output"))
        circuit = self._published
        energy = None if self.component is None else self.component.energy
        if self.use is None and energy is not None and energy.high > 0.0:
            raise ValueError(
                f"part {self.name!r} has an energy of each use, but use=None: nothing uses it; "
                f"name what does, one of {', '.join(map(repr, USES))}"
            )
        if self.follows is not None and circuit is not None and not hasattr(circuit, "bits"):
            kind = type(circuit).__name__
            raise ValueError(
                f"part {self.name!r} follows the {self.follows} bits, but {kind} has no bits"
            )

    @property
    def _published(self) -> Component | None:
        """The component as published, where it is carried to another node."""
        return self.component.part if isinstance(self.component, AtNode) else self.component

    def circuit(self, sent: Sent) -> Component | None:
        """Return the component for the bits at hand; None where it, or the bits, are not known.

        Raises:
            ValueError: if the component is not for these bits.
        """
        if self.follows is None or self.component is None:
            return self.component
        bits = sent.driver_bits if self.follows == "input" else sent.output_bits
        if bits is None:
            return None
        if isinstance(self.component, AtNode):
            return self.component.replace(part=self.component.part.replace(bits=bits))
        return self.component.replace(bits=bits)


@dataclass(frozen=True)
class ChipArchitecture(Spec):
    """A chip: arrays in cores in chips, the circuits around them, and how they work in time.

    Every `Part` says what it does. Roles that no part has are not counted, and what lacks a part
    is None: see `mho.analysis.Cost`. Cells and lines are computed from the model's voltages and
    conductances, unless a part has their role (a measured figure that includes them).

    Attributes:
        name: of it.
        parts: its circuits.
        timing: how vectors are sent into arrays.
        rows: word lines of an array; None: as the hardware's.
        cols: bit lines of an array; None: as the hardware's.
        slices_per_array: slices of a weight (a differential pair has two) whose cells share the
            unit cells of one array, >= 1.
        columns_per_converter: bit lines that one converter takes one after the other, >= 1.
        conversion_rate: of one converter (1/s), where it is slower than it can be.
        input_bits: that it can send, ``(least, most)``; None: any.
        output_bits: that it can give, likewise.
        cell_area: of a unit cell (m²); None: not counted.
        line_capacitance: of a word line per unit cell (F), charged at every drive; None: not
            counted.
        arrays_per_core: >= 1.
        cores: of a chip, >= 1; None: as many as it takes.
        pulse: what one programming pulse takes (`mho.analysis.components.ProgrammingPulse`), for
            policies that count pulses and do not know their energy or time; None: then neither is
            known.
        overlapped: whether converting one vector overlaps with driving the next one.
        pipelined: whether layers work at the same time, on successive inferences.
        sources: where its numbers are from.
        assumed: what had to be assumed; printed with every result.

    Raises:
        TypeError, ValueError: if a value is refused, parts are named twice or missing, or
            converters are asked for more than their rate.
    """

    name: str = "architecture"
    parts: tuple[Part, ...] = ()
    timing: Timing = field(default_factory=Levels)
    rows: int | None = None
    cols: int | None = None
    slices_per_array: int = 1
    columns_per_converter: int = 8
    conversion_rate: float | None = None
    input_bits: tuple[int, int] | None = None
    output_bits: tuple[int, int] | None = None
    cell_area: float | None = None
    line_capacitance: float | None = None
    arrays_per_core: int = 1
    cores: int | None = None
    pulse: Component | None = None
    overlapped: bool = False
    pipelined: bool = False
    sources: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks.instance("name of the architecture", self.name, str)
        checks.instance("parts", self.parts, (tuple, list))
        for name in ("parts", "sources", "assumed"):
            value = getattr(self, name)
            checks.instance(name, value, (tuple, list))
            object.__setattr__(self, name, tuple(value))
        for part in self.parts:
            checks.instance("every part", part, Part)
        for name in ("sources", "assumed"):
            for text in getattr(self, name):
                checks.instance(f"every one of {name}", text, str)
        checks.instance("timing", self.timing, Timing)
        for name in ("rows", "cols", "cores"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name))
        for name in ("slices_per_array", "columns_per_converter", "arrays_per_core"):
            checks.integer(name, getattr(self, name))
        for name, unit in (("cell_area", "m²"), ("line_capacitance", "F")):
            if getattr(self, name) is not None:
                checks.circuit(name, getattr(self, name), unit, least=0.0)
        if self.conversion_rate is not None:
            checks.number("conversion_rate", self.conversion_rate, above=0.0)
        for name in ("input_bits", "output_bits"):
            span = getattr(self, name)
            if span is None:
                continue
            checks.instance(name, span, (tuple, list))
            if len(span) != 2:
                raise ValueError(f"{name} must be (least, most), got {span!r}")
            checks.integer(f"least of {name}", span[0])
            checks.integer(f"most of {name}", span[1], least=span[0])
            object.__setattr__(self, name, tuple(span))
        if self.pulse is not None:
            checks.instance("pulse", self.pulse, Component)
        self._check_parts()

    def _check_parts(self) -> None:
        names = [part.name for part in self.parts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{self.name} has parts of one name twice: {', '.join(twice)}")
        done = {role for part in self.parts for role in part.roles}
        missing = [role for role in REQUIRED if role not in done]
        if missing:
            raise ValueError(
                f"{self.name} lacks parts for: {', '.join(missing)} (where their cost is not "
                f"known, a part whose component is None)"
            )
        if not self.timing.shares:
            kind = type(self.timing).__name__
            if self.columns_per_converter != 1:
                raise ValueError(
                    f"columns_per_converter must be 1 with {kind}, whose converters work while "
                    f"lines are driven, got {self.columns_per_converter}"
                )
            if self.conversion_rate is not None:
                raise ValueError(
                    f"conversion_rate must be None with {kind}, which says the time itself, "
                    f"got {self.conversion_rate}"
                )
        for part in self._convert():
            if part.follows is None:
                self._refuse_too_fast(part.name, part.component)

    def _convert(self) -> list[Part]:
        return [p for p in self.parts if "converters" in p.roles and p.use == "conversion"]

    def _refuse_too_fast(self, name: str, component: Component | None) -> None:
        latency = None if component is None else component.latency
        if self.conversion_rate is None or latency is None or latency.low == 0.0:
            return
        most = 1.0 / latency.low
        if self.conversion_rate > most * (1.0 + 1e-9):
            raise ValueError(
                f"conversion_rate must be <= {most:,.4g} /s, what {name} of {self.name} can do "
                f"({component}), got {self.conversion_rate:,.4g}"
            )

    def conversion_time(self, sent: Sent) -> Estimate | None:
        """Return how long one conversion takes (s); None if it is not known.

        Of what the chip's component and the hardware's converter know it is the longer.

        Raises:
            ValueError: if converters of these bits cannot convert at ``conversion_rate``.
        """
        times = []
        for part in self._convert():
            component = part.circuit(sent)
            self._refuse_too_fast(part.name, component)
            times.append(None if component is None else component.latency)
        time = slowest(times) if times else None  # None as soon as one is not known
        if self.conversion_rate is not None:
            time = Estimate.exact(1.0 / self.conversion_rate)
        if sent.conversion_time is None:
            return time
        own = Estimate.exact(sent.conversion_time)
        return own if time is None else combine(max, time, own)

    def check_bits(self, sent: Sent) -> None:
        """Refuse bits that the chip does not have (ValueError)."""
        for name, bits in (("input_bits", sent.input_bits), ("output_bits", sent.output_bits)):
            span = getattr(self, name)
            if span is None:
                continue
            which, part = ("inputs", "DAC") if name == "input_bits" else ("outputs", "ADC")
            allowed = f"{span[0]}" if span[0] == span[1] else f"{span[0]} to {span[1]}"
            if bits is None or not span[0] <= bits <= span[1]:
                raise ValueError(
                    f"{self.name} has {which} of {allowed} bits, got {bits}: change the "
                    f"hardware's {part}"
                )

    def cores_for(
        self, hardware: Hardware, count: int | None = None, *, read_time: float | None = None
    ) -> Cores:
        """Return this chip as cores on which `mho.chip.place` puts a network.

        Such a core is read with one vector at a time: it is an array, or several of one core where
        the encoding joins the currents of more slices than lie on one. Where converting overlaps
        with driving, a read takes as long as the longer one, for whole lines.

        Args:
            hardware: with its bits, its encoding, and its array where the architecture leaves the
                size open.
            count: of cores, where the architecture leaves it open.
            read_time: of a core (s), instead of what drivers and converters take here.

        Raises:
            TypeError, ValueError: if an argument is refused, currents would have to be joined over
                several cores, or the number of cores or the time of a read is not known.
        """
        from mho.analysis import mapped  # it needs this class

        return mapped.cores_for(self, hardware, count, read_time)

    def missing(self, *, amplified: bool = False) -> tuple[str, ...]:
        """Return what no part does, and nothing computes; amplifiers where there are some."""
        needed = [r for r in ROLES if r not in RESERVED and (r != "amplifiers" or amplified)]
        return tuple(role for role in needed if not self.covered(role))

    def covered(self, role: str) -> bool:
        """Whether some part does this."""
        return any(role in part.roles for part in self.parts)

    def assumptions(self, *, mapped: bool = False) -> tuple[str, ...]:
        """Say what results stand on: sources of the parts, and what is assumed.

        Args:
            mapped: whether a mapping says where layers lie.
        """
        lines = [f"{self.name}: {text}" for text in self.sources]
        known = [(part.name, part.component) for part in self.parts if part.component is not None]
        lines += [f"{name}: {component.source}" for name, component in known if component.source]
        if mapped:
            lines.append(
                "a core takes one vector at a time, a layer begins when the one before is done; "
                "all cores of the chip are switched on, cells beside the weights draw nothing"
            )
            return (*lines, *(f"assumed: {text}" for text in self.assumed))
        lines.append(
            "arrays work at the same time, the vectors of one layer one after the other, "
            f"layers {'at the same time' if self.pipelined else 'one after the other'}; cores that "
            "are not taken are switched off, cells beside the weights draw nothing"
        )
        return (*lines, *(f"assumed: {text}" for text in self.assumed))

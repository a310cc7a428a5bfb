"""What `mho.analysis.cost` returns: of every layer and part, and of the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mho.analysis.components.base import Estimate, total
from mho.analysis.estimates import NOTHING, bound, known, number, rate, said, slowest
from mho.core.text import share, table

if TYPE_CHECKING:
    from mho.analysis.mapped import Mapped

OBJECTIVES = {
    "energy": "J",
    "dynamic": "J",
    "leakage": "J",
    "latency": "s",
    "interval": "s",
    "area": "m²",
    "programming_energy": "J",
    "programming_time": "s",
}
"""What a study may optimise, with its unit."""


@dataclass(frozen=True)
class PartCost:
    """Cost of one kind of circuit, in one inference. None is: not counted.

    Attributes:
        name: of the part.
        roles: what it does.
        instances: how many there are.
        uses: of all of them, in one inference.
        dynamic: energy of the uses (J).
        leakage: energy that all draw while they do nothing (J): power × time of an inference.
        power: that they draw while they do nothing (W).
        area: of all (m²).
        leakage_in_dynamic: whether what leaks is within the energy of the uses; by itself it is
            then not known.
    """

    name: str
    roles: tuple[str, ...]
    instances: float
    uses: float
    dynamic: Estimate | None
    leakage: Estimate | None
    power: Estimate | None
    area: Estimate | None
    leakage_in_dynamic: bool = False

    @property
    def energy(self) -> Estimate | None:
        """Dynamic energy and leakage of one inference (J)."""
        return self.dynamic if self.leakage_in_dynamic else total((self.dynamic, self.leakage))


@dataclass(frozen=True)
class LayerCost:
    """Cost of one crossbar in one inference. None is: not counted, in part at least.

    Attributes:
        name: as `mho.summary` shows it.
        reads: of the whole matrix in one inference.
        drives: of word lines in one inference, over all arrays.
        conversions: by its converters in one inference; 0 where the hardware has no ADC.
        arrays: physical ones that it lies on.
        macs: multiply–accumulates in one inference.
        utilisation: share of the arrays' unit cells that hold weights.
        parts: what its circuits cost.
        latency: of one inference (s), its vectors one after the other.
        driven: of it, the time for which its arrays are driven (s).
        untimed: names of what else it lacks.
    """

    name: str
    reads: float
    drives: float
    conversions: float
    arrays: int
    macs: float
    utilisation: float
    parts: tuple[PartCost, ...]
    latency: Estimate | None
    driven: Estimate
    untimed: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> PartCost:
        """Return the part of this name (KeyError, naming those there are)."""
        return find(self.parts, name)

    @property
    def energy(self) -> Estimate | None:
        """All energy of one inference (J)."""
        return total(part.energy for part in self.parts)

    @property
    def area(self) -> Estimate | None:
        """Of its arrays with their circuits (m²)."""
        return total(part.area for part in self.parts)


@dataclass(frozen=True)
class Programming:
    """What writing the weights takes, from the report of `mho.program`. None is: not known.

    Attributes:
        pulses: that all cells together received.
        time: crossbars one after the other (s).
        energy: into the cells, and of the circuits that drive them (J).
    """

    pulses: int
    time: Estimate | None
    energy: Estimate | None


@dataclass(frozen=True)
class Cost:
    """What `cost` returns; print it.

    One rule for all sums: what has a part that is not counted is None, and `counted` returns what
    is known of it, a lower bound, which prints as "≥". All is of crossbars and the circuits of the
    chip: what layers that stay digital compute is outside of every sum.

    Attributes:
        architecture: name of what was costed.
        layers: one entry a crossbar.
        shared: circuits of cores and chips that belong to no layer.
        pipelined: whether layers work at the same time.
        cores: that the network takes.
        chips: that it takes.
        missing: roles that nothing has: energy and area of these are not counted.
        programming: writing the weights; None if no report was given.
        assumptions: what the numbers stand on.
        excluded: what they leave out.
        mapped: where the network lies on the chip's cores, where a mapping was given: latency and
            interval are its own (in turns the latency is that of a batch), and all cores count.
    """

    architecture: str
    layers: tuple[LayerCost, ...]
    shared: tuple[PartCost, ...]
    pipelined: bool
    cores: int
    chips: int
    missing: tuple[str, ...]
    programming: Programming | None
    assumptions: tuple[str, ...]
    excluded: tuple[str, ...]
    mapped: Mapped | None = None

    # ── sums ─────────────────────────────────────────────────────────────────────────────────

    @property
    def parts(self) -> tuple[PartCost, ...]:
        """What every kind of circuit costs, over all layers and what they share."""
        found: dict[str, list[PartCost]] = {}
        for part in self._each():
            found.setdefault(part.name, []).append(part)
        return tuple(_sum(parts) for parts in found.values())

    def __getitem__(self, name: str) -> PartCost:
        """Return the part of this name, over all layers."""
        return find(self.parts, name)

    @property
    def energy(self) -> Estimate | None:
        """Of one inference (J); None if a part is not counted: see `uncounted` and `counted`."""
        return self._total("energy")

    @property
    def dynamic(self) -> Estimate | None:
        """Energy of one inference without leakage (J); None if a part is not counted.

        Of parts that do not tell the two apart it is all.
        """
        return self._total("dynamic")

    @property
    def leakage(self) -> Estimate | None:
        """Leakage during one inference (J); None if a part is not counted, or within its energy."""
        return self._total("leakage")

    @property
    def area(self) -> Estimate | None:
        """Of all arrays with their circuits, and what they share (m²); None if one is not counted.

        `uncounted` then names these parts, and `counted` returns what is known, a lower bound.
        """
        return self._total("area")

    @property
    def latency(self) -> Estimate | None:
        """Of one inference, layer after layer (s); None if a part is not counted."""
        if self.mapped is not None:
            return self.mapped.latency
        return total(layer.latency for layer in self.layers)

    @property
    def interval(self) -> Estimate | None:
        """Between inferences (s): the slowest layer's time if pipelined, else the latency."""
        if self.mapped is not None:
            return self.mapped.interval
        if not self.pipelined:
            return self.latency
        return slowest([layer.latency for layer in self.layers])

    @property
    def throughput(self) -> Estimate | None:
        """Inferences in a second; None if it is not known."""
        return rate(1.0, self.interval)

    @property
    def macs(self) -> float:
        """Multiply–accumulates on crossbars in one inference."""
        return sum(layer.macs for layer in self.layers)

    @property
    def utilisation(self) -> float:
        """Share of the arrays' unit cells that hold weights; of the chip's in the mean of turns."""
        if self.mapped is not None:
            return self.mapped.mapping.utilisation
        arrays = sum(layer.arrays for layer in self.layers)
        return sum(layer.utilisation * layer.arrays for layer in self.layers) / arrays

    @property
    def tops(self) -> Estimate | None:
        """Throughput of this network (10¹² operations/s, two a multiply–accumulate)."""
        return rate(2e-12 * self.macs, self.interval)

    @property
    def tops_per_watt(self) -> Estimate | None:
        """Operations per energy (10¹²/J)."""
        return rate(2e-12 * self.macs, self.energy)

    @property
    def tops_per_area(self) -> Estimate | None:
        """Throughput of this network for the area it takes (10¹² operations/s/mm²)."""
        speed, area = self.tops, self.area
        if speed is None or area is None or area.low == 0.0:
            return None
        ends = (speed.low / area.high, speed.typical / area.typical, speed.high / area.low)
        return Estimate(*(1e-6 * end for end in ends))

    @property
    def programming_energy(self) -> Estimate | None:
        """Of writing all weights (J); None if it is not known."""
        return None if self.programming is None else self.programming.energy

    @property
    def programming_time(self) -> Estimate | None:
        """Of writing all weights (s); None if it is not known."""
        return None if self.programming is None else self.programming.time

    # ── what is known ────────────────────────────────────────────────────────────────────────

    def uncounted(self, name: str) -> tuple[str, ...]:
        """Return what a quantity lacks, by name; nothing where all of it is counted.

        Args:
            name: one of `OBJECTIVES`.

        Raises:
            ValueError: if it is none.
        """
        _check(name)
        if name in ("latency", "interval") and self.mapped is not None:
            told = getattr(self, name)
            return () if told is not None else ("time of rewriting (Rewriting(row_time=…))",)
        if name in ("latency", "interval"):
            return tuple(dict.fromkeys(name for x in self.layers for name in x.untimed))
        if name.startswith("programming"):
            if self.programming is None:
                return ("programming (give the report of mho.program)",)
            told = getattr(self, name)
            return () if told is not None else ("programming, by a policy that does not know it",)
        lacking = [p.name for p in self.parts if getattr(p, name) is None]
        if name == "leakage":
            within = {p.name for p in self.parts if p.leakage_in_dynamic}
            lacking = [f"{x} (within its energy)" if x in within else x for x in lacking]
            if self.interval is None:
                lacking.append("the time it lasts")
        return (*lacking, *self.missing)

    def counted(self, name: str) -> Estimate:
        """Return what is known of a quantity: a lower bound if anything is `uncounted`.

        Args:
            name: one of `OBJECTIVES`.

        Raises:
            ValueError: if it is none.
        """
        _check(name)
        if name in ("latency", "interval") and self.mapped is not None:
            mapping = self.mapped.mapping
            share = 1.0 if name == "latency" else 1.0 / mapping.batch
            return getattr(self, name) or Estimate.exact(mapping.reading_time * share)
        if name in ("latency", "interval"):
            times = [layer.latency or layer.driven for layer in self.layers]
            if name == "interval" and self.pipelined:
                return slowest(times) or NOTHING
            return known(times)
        if name.startswith("programming"):
            return getattr(self, name) or NOTHING
        if name == "energy":
            return self.counted("dynamic") + self.counted("leakage")
        return known(getattr(part, name) for part in self._each())

    def objective(self, name: str) -> float:
        """Return the typical value of a quantity, for a study to compare chips by.

        Args:
            name: one of `OBJECTIVES`.

        Raises:
            ValueError: if it is none, or a part of it is not counted: what costs nothing only
                because nobody counted it would always win.
        """
        _check(name)
        lacking = self.uncounted(name)
        value: Estimate | None = getattr(self, name)
        if lacking or value is None:
            raise ValueError(
                f"{name} is no objective here, as it is not all counted: it lacks "
                f"{', '.join(lacking)}; give the architecture parts for these, or compare "
                f"counted({name!r}) knowing so"
            )
        return value.typical

    def _each(self) -> Iterable[PartCost]:
        for layer in self.layers:
            yield from layer.parts
        yield from self.shared

    def _total(self, name: str) -> Estimate | None:
        return None if self.missing else total(getattr(part, name) for part in self._each())

    # ── printed ──────────────────────────────────────────────────────────────────────────────

    def __str__(self) -> str:
        head = ("crossbar", "reads", "arrays", "used", "energy", "latency", "area")
        rows = [
            (
                layer.name or "crossbar",
                f"{layer.reads:,.4g}",
                f"{layer.arrays:,}",
                share(layer.utilisation),
                bound(layer.energy, known(_counted(p) for p in layer.parts), "J"),
                bound(layer.latency, layer.driven, "s"),
                bound(layer.area, known(p.area for p in layer.parts), "m²"),
            )
            for layer in self.layers
        ]
        by_part = ("part", "does", "instances", "uses", "dynamic", "leakage", "area")
        parts = [
            (
                part.name,
                ", ".join(part.roles),
                f"{part.instances:,.6g}",
                f"{part.uses:,.6g}",
                said(part.dynamic, "J"),
                "in dynamic" if part.leakage_in_dynamic else said(part.leakage, "J"),
                said(part.area, "m²"),
            )
            for part in self.parts
        ]
        lines = [f"one inference on {self.architecture}", "", table(head, rows), ""]
        lines += [table(by_part, parts, left=2), "", *self._totals(), "", "assumed:"]
        lines += [f"  {text}" for text in self.assumptions]
        lines += ["not counted:", *(f"  {text}" for text in self.excluded)]
        return "\n".join(lines)

    def _totals(self) -> list[str]:
        def line(label: str, name: str) -> str:
            text = bound(getattr(self, name), self.counted(name), OBJECTIVES[name])
            lacking = self.uncounted(name)
            return f"{label:<16}{text}" + (f" (without {', '.join(lacking)})" if lacking else "")

        plural = "s" if self.cores > 1 else ""
        taken = f"{self.cores:,} core{plural} of {self.chips:,} chip{'s' if self.chips > 1 else ''}"
        lines = [
            line("energy", "energy"),
            line("latency", "latency"),
            *([line("interval", "interval")] if self.pipelined or self.mapped else []),
            line("area", "area"),
            f"{'taken':<16}{taken}, {share(self.utilisation)} of the arrays' cells used",
        ]
        most = rate(2e-12 * self.macs, self.counted("energy"))
        for label, value, bounded in (
            ("inferences/s", self.throughput, None),
            ("TOPS", self.tops, None),
            ("TOPS/W", self.tops_per_watt, most),
            ("TOPS/mm²", self.tops_per_area, None),
        ):
            text = "not known" if bounded is None else f"≤ {number(bounded)}, by what is counted"
            lines.append(f"{label:<16}{text if value is None else number(value)}")
        if self.programming is not None:
            lines.append(f"{'writing':<16}{self.programming.pulses:,} pulses")
            lines.append(line("  time", "programming_time"))
            lines.append(line("  energy", "programming_energy"))
        return lines


def find(parts: tuple[PartCost, ...], name: str) -> PartCost:
    """Return the part of a name; KeyError, naming those there are, if there is none."""
    for part in parts:
        if part.name == name:
            return part
    raise KeyError(f"no part {name!r}; there are {', '.join(repr(p.name) for p in parts)}")


def _counted(part: PartCost) -> Estimate:
    return (part.dynamic or NOTHING) + (part.leakage or NOTHING)


def _sum(parts: list[PartCost]) -> PartCost:
    first = parts[0]
    return PartCost(
        first.name,
        first.roles,
        sum(part.instances for part in parts),
        sum(part.uses for part in parts),
        total(part.dynamic for part in parts),
        total(part.leakage for part in parts),
        total(part.power for part in parts),
        total(part.area for part in parts),
        any(part.leakage_in_dynamic for part in parts),
    )


def _check(name: str) -> None:
    if name not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}; got {name!r}")

"""Chip: a finite array of cells with defects of its own, shared by many layers and models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells.checkpoint import modernise_chip
from mho.cells.population import Cells
from mho.chip import tenants
from mho.chip.cores import Cores
from mho.chip.placement import Region
from mho.chip.residents import Resident
from mho.core import checks, durations
from mho.core.durations import Duration
from mho.core.precision import keeping
from mho.core.spec import first_difference
from mho.crossbar.checkpoint import present
from mho.crossbar.undo import all_or_nothing
from mho.hardware import Hardware
from mho.model.crossbars import listing
from mho.model.lifecycle import ModelReport, write_all


class Chip(nn.Module):
    """An array of cells that exists before anything is written to it, and outlives it.

    Every cell is fabricated once: its own parameters, and whether and how it is broken, are part
    of the chip and stay. Models are put on it with `place`: every slice of every crossbar takes a
    region, becomes those cells, and is programmed. From then on the crossbars compute, age and are
    programmed as ever (``mho.program``, ``mho.age``); without a chip the same code runs on cells
    of the crossbar's own. Training a placed model reads through the chip's cells, so that it
    learns around their defects (``NoiseInjection(own_cells=True)``).

    The cells are the chip's; crossbars that live on them return what they hold after every change.
    A model lives on one chip at a time: placing it on another moves it off the first.

    A chip in service is saved as two checkpoints, its own and the model's. In a new process load
    both, in either order, and `join` the model to the chip.

    Args:
        rows: word lines, >= 1; 2500 if not given.
        cols: bit lines, >= 1; 2500 if not given.
        hardware: what its cells are: the device and the effects. Encoding and converters are the
            models' own.
        stuck: broken cells beside those the effects make: a mask ``[rows, cols]`` and what they
            read (S), of the same shape; see `outside_window`.
        endurance: how many pulses a cell bears; None for ever.
        cores: a chip of several cores instead of one field of cells; ``rows`` and ``cols`` follow
            from it: all arrays lie one below the other in the order of cores. Models are cut into
            tiles as they are read, and no tile lies on two arrays. See `mho.chip.place`.
        seed: of the chip's fabrication.
        dtype: of the conductances; torch's default if not given.
        device: where they live.

    Attributes:
        cells: the population ``[rows, cols]``.
        cores: of which it consists; None for one field of cells.

    Raises:
        TypeError, ValueError: if a size, the seed, the hardware or the broken cells are refused.
    """

    cores: Cores | None = None  # also of chips pickled before there were any

    def __init__(
        self,
        rows: int | None = None,
        cols: int | None = None,
        hardware: Hardware | None = None,
        *,
        cores: Cores | None = None,
        stuck: tuple[Tensor, Tensor] | None = None,
        endurance: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        rows, cols = _shape(rows, cols, cores)
        hardware = Hardware() if hardware is None else hardware
        checks.instance("hardware", hardware, Hardware)
        if endurance is not None:
            endurance = checks.integer("endurance", endurance)
        self.rows, self.cols, self.hardware, self.endurance = rows, cols, hardware, endurance
        self.cores = cores
        kind = hardware.device.cells_type
        self.cells: Cells = kind(
            hardware.behaviours, (rows, cols), seed=seed, dtype=dtype, device=device
        )
        if stuck is not None:
            self.cells.break_too(*stuck)
        self.cells.identity = self._identity(seed, stuck)
        self.residents: list[Resident] = []
        self.sums: Tensor | None = None  # of broken cells, for placement; made when needed
        self.register_load_state_dict_post_hook(_tell_models)

    def _identity(self, seed: int, stuck: tuple[Tensor, Tensor] | None) -> str:
        said = [repr(behaviour) for behaviour in self.hardware.behaviours]
        where = (self.rows, self.cols) if self.cores is None else self.cores.layout
        digest = hashlib.blake2b(repr((seed, *where, said)).encode(), digest_size=8)
        for tensor in stuck or ():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def G(self) -> Tensor:  # noqa: N802 (the field's symbol)
        """Conductances ``[rows, cols]`` (S)."""
        return self.cells.g

    @property
    def stuck(self) -> Tensor:
        """Mask of the broken cells ``[rows, cols]``: the defect map."""
        found = self.cells.stuck
        return (
            torch.zeros(self.G.shape, dtype=torch.bool).to(self.G.device)
            if found is None
            else found
        )

    @property
    def wear(self) -> Tensor:
        """Pulses each cell has received ``[rows, cols]`` (int64)."""
        return self.cells.writes

    # ── what is where ────────────────────────────────────────────────────────────────────────

    @property
    def regions(self) -> dict[str, tuple[Region, ...]]:
        """The regions of every crossbar, as `place` returns them, by ``"model/crossbar"``."""
        return {resident.label: resident.regions for resident in self.residents}

    @property
    def occupied(self) -> Tensor:
        """Mask of the cells that belong to a model, ``[rows, cols]``."""
        mask = torch.zeros_like(self.G, dtype=torch.bool)
        for region in self.taken():
            region.of(mask).fill_(True)
        return mask

    @property
    def occupancy(self) -> float:
        """Fraction of the cells that belong to a model."""
        return sum(region.cells for region in self.taken()) / (self.rows * self.cols)

    def taken(self) -> Iterator[Region]:
        """The regions that belong to models."""
        for resident in self.residents:
            yield from resident.regions
            yield from resident.reserved

    # ── models on it; see `mho.chip.tenants` ─────────────────────────────────────────────────

    place = tenants.place
    join = tenants.join
    remove = tenants.remove

    # ── their life on it ─────────────────────────────────────────────────────────────────────

    @torch.inference_mode(False)
    @torch.no_grad()
    def program(self, model: nn.Module) -> ModelReport:
        """Write a model's weights to its cells again, unless these are worn out.

        ``mho.program`` does the same without asking.

        Returns:
            As ``mho.program``.

        Raises:
            ValueError: if the model is not on this chip, or its cells have received as many pulses
                as ``endurance`` allows; nothing is then changed.
        """
        found = listing(model)
        residents = tenants.here(self, found)
        worst = max(int(self.wear.reshape(-1)[resident.place].max()) for resident in residents)
        if self.endurance is not None and worst >= self.endurance:
            raise ValueError(
                f"the cells of {residents[0].owner!r} have received {worst} pulses, and "
                f"endurance is {self.endurance}: they are worn out"
            )
        return write_all(found)

    def sync(self) -> None:
        """Nothing to do: ``G`` and ``wear`` are always up to date. For programs of version 0.1."""

    def read(self, region: Region | str, slice: int = 0) -> Tensor:
        """Return what the cells of a region hold now.

        Args:
            region: any rectangle of written cells, or ``"model/crossbar"``.
            slice: of the crossbar, where one is named.

        Returns:
            Conductances ``[height, width]`` (S), by word line and bit line.

        Raises:
            TypeError, ValueError: if there is no such region, or cells in it were never written.
        """
        checks.instance("region", region, (Region, str))
        if isinstance(region, str):
            checks.one_of("region", region, list(self.regions))
            resident = next(r for r in self.residents if r.label == region)
            place = resident.place
            slice = checks.integer("slice", slice, least=0, most=len(place) - 1)
            if self.cores is not None:
                return self._cells_of(resident.label, place[slice])
            region = resident.regions[slice]
        if region.bottom > self.rows or region.right > self.cols:
            raise ValueError(f"{region} is not on this chip of {self.rows} × {self.cols} cells")
        return self._cells_of(str(region), region.positions(self.cols, self.G.device))

    def _cells_of(self, what: str, place: Tensor) -> Tensor:
        """Return conductances at positions on the flattened chip (S), all written."""
        unwritten = int((self.wear.reshape(-1)[place] == 0).sum())
        if unwritten:
            raise ValueError(f"{unwritten} of {what} were never written")
        return self.G.reshape(-1)[place]

    def age(self, seconds: Duration, reads: float = 0.0) -> None:
        """Let time pass for everything that lives on the chip.

        Args:
            seconds: how long (s), >= 0; or a span as text, see `mho.age`.
            reads: of every cell in that time, >= 0; see `mho.age`.

        Raises:
            TypeError, ValueError: if one is not a non-negative number, or there are reads and
                nothing goes by them.
        """
        seconds = durations.seconds("seconds", seconds, least=0.0)
        self.cells.check_reads(reads)
        living = [r.crossbar for r in self.residents if r.crossbar is not None]
        lost = sorted({repr(r.owner) for r in self.residents if r.crossbar is None})
        if lost:
            raise ValueError(
                f"the chip was loaded without {', '.join(lost)}: load its checkpoint into a "
                "converted model and call chip.join(model), or chip.remove it"
            )
        with all_or_nothing(living):
            for crossbar in living:
                crossbar.age(seconds, reads)

    # ── save and load ────────────────────────────────────────────────────────────────────────

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors: plain values only."""
        shape = [self.rows, self.cols]
        regions = [resident.plain() for resident in self.residents]
        state = {"hardware": self.hardware.to_dict(), "shape": shape, "regions": regions}
        return state if self.cores is None else {**state, "cores": list(self.cores.layout)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back which cells are taken; models have checkpoints of their own.

        Raises:
            ValueError: if the checkpoint is of another chip.
        """
        self._refuse_other(state)
        living = {r.label: r for r in self.residents}
        self.residents.clear()
        for values in state["regions"]:
            resident = Resident.from_plain(values, self.cells, self.residents)
            same = living.pop(resident.label, None)
            if same is not None and same.plain() == resident.plain():
                resident = same
            elif same is not None:
                living[resident.label] = same
            self.residents.append(resident)
        for stranger in living.values():  # it was not on the chip then
            if stranger.crossbar is not None:
                stranger.crossbar.leave()
        self.sums = None

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **settings: Any) -> Any:
        """As `torch.nn.Module.load_state_dict`; after any error chip and models are as before.

        Models that live on the chip then hold what its cells hold.
        """
        living = [r.crossbar for r in self.residents if r.crossbar is not None]
        with tenants.undoing(self), all_or_nothing(living):
            return super().load_state_dict(state_dict, *args, **settings)

    def _refuse_other(self, state: dict[str, Any]) -> None:
        own = None if self.cores is None else list(self.cores.layout)
        found = {"hardware": present(state["hardware"]), "shape": state["shape"]}
        found["cores"] = state.get("cores")
        expected: dict[str, Any] = {
            "hardware": self.hardware.to_dict(),
            "shape": [self.rows, self.cols],
        }
        expected["cores"] = own
        difference = first_difference(expected, found)
        if difference:
            raise ValueError(f"this checkpoint is of another chip: {difference}")

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        modernise_chip(state_dict, prefix)
        saved = state_dict.get(f"{prefix}_extra_state")
        if isinstance(saved, dict):
            self._refuse_other(saved)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Any, recurse: bool = True) -> Chip:
        super()._apply(keeping(fn), recurse)
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for resident in self.residents:  # copied with the chip: they live on the copy
            if resident.crossbar is not None:
                resident.crossbar.rejoin(resident.crossbar.cells, resident)

    def extra_repr(self) -> str:
        """Cells, defects, wear; and a line for every model on it."""
        held: dict[str, list[Resident]] = {}
        for resident in self.residents:
            held.setdefault(resident.owner, []).append(resident)
        broken = float(self.stuck.float().mean())
        size = f"{self.rows} × {self.cols} cells"
        if self.cores is not None:
            chip = self.cores
            size = f"{chip.count} cores of {chip.arrays} × {chip.rows} × {chip.cols} cells"
        lines = [
            f"{size}, {broken:.2%} stuck, {self.occupancy:.2%} taken by "
            f"{len(held)} model{'' if len(held) == 1 else 's'}, "
            f"at most {int(self.wear.max()):,} pulses a cell"
        ]
        for owner, residents in held.items():
            cells = sum(region.cells for resident in residents for region in resident.regions)
            names = ", ".join(resident.name for resident in residents if resident.name)
            lines.append(f"{owner}: {cells:,} cells" + f" ({names})" * bool(names))
        return "\n".join(lines)


def _tell_models(chip: nn.Module, *_: object) -> None:
    """After loading: models that live on the chip hold what its cells hold. A hook of the chip."""
    for resident in list(chip.residents):  # type: ignore[arg-type]
        if resident.crossbar is not None:
            resident.join(resident.crossbar)


def _shape(rows: int | None, cols: int | None, cores: Cores | None) -> tuple[int, int]:
    if cores is None:
        rows = checks.integer("rows", 2500 if rows is None else rows)
        return rows, checks.integer("cols", 2500 if cols is None else cols)
    checks.instance("cores", cores, Cores)
    if (rows, cols) != (None, None):
        raise ValueError(f"rows and cols follow from cores; got rows={rows!r}, cols={cols!r} too")
    return cores.shape

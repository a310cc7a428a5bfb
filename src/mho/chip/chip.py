"""Chip: a finite array of cells with defects of its own, shared by many layers and models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells.life import Born
from mho.chip import placement
from mho.chip.array import CellArray
from mho.chip.permute import WHICH
from mho.chip.placement import Region
from mho.chip.residents import Resident, crossbars_of, program_all, refuse_other_cells
from mho.core import checks, random
from mho.core.spec import first_difference
from mho.crossbar.crossbar import Crossbar
from mho.hardware import Hardware


class Chip(CellArray):
    """An array of cells that exists before anything is written to it, and outlives it.

    Every cell is fabricated once: its own parameters, and whether and how it is broken, are part
    of the chip and stay. Models are put on it with `place`: every slice of every crossbar takes a
    region, becomes those cells, and is programmed. From then on the crossbars compute, age and are
    programmed as ever (``mho.program``, ``mho.age``); without a chip the same code runs on cells
    of the crossbar's own. Training a placed model reads through the chip's cells, so that it
    learns around their defects (``Practice(own_cells=True)``).

    What cells hold is kept by the crossbars that live on them, and by the chip where none does.

    Args:
        rows: word lines, >= 1.
        cols: bit lines, >= 1.
        hardware: what its cells are: the device and the effects. Encoding and converters are the
            models' own.
        stuck: broken cells beside those the effects make: a mask ``[rows, cols]`` and what they
            read (S), of the same shape; see `outside`.
        endurance: how often a cell may be written; None for ever.
        seed: of the chip's fabrication.
        dtype: of the conductances; torch's default if not given.
        device: where they live.

    Attributes:
        G: conductances ``[rows, cols]`` (S), up to date after `sync`.
        stuck: mask of the broken cells ``[rows, cols]``: the defect map.
        wear: how often each cell has been written ``[rows, cols]``, up to date after `sync`.

    Raises:
        TypeError, ValueError: if a size, the seed, the hardware or the broken cells are refused.
    """

    def __init__(
        self,
        rows: int = 2500,
        cols: int = 2500,
        hardware: Hardware | None = None,
        *,
        stuck: tuple[Tensor, Tensor] | None = None,
        endurance: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(
            rows,
            cols,
            Hardware() if hardware is None else hardware,
            stuck=stuck,
            seed=seed,
            dtype=dtype,
            device=device,
        )
        if endurance is not None:
            checks.integer("endurance", endurance)
        self.endurance = endurance
        self._residents: list[Resident] = []
        self._sums: Tensor | None = None

    # ── what is where ────────────────────────────────────────────────────────────────────────

    @property
    def regions(self) -> dict[str, tuple[Region, ...]]:
        """The regions of every crossbar, one a slice, by ``"model/crossbar"``."""
        return {resident.label: resident.regions for resident in self._residents}

    @property
    def occupied(self) -> Tensor:
        """Mask of the cells that belong to a model, ``[rows, cols]``."""
        mask = torch.zeros_like(self.stuck)
        for region in self._taken():
            region.of(mask).fill_(True)
        return mask

    @property
    def occupancy(self) -> float:
        """Fraction of the cells that belong to a model."""
        return sum(region.cells for region in self._taken()) / (self.rows * self.cols)

    def _taken(self) -> Iterator[Region]:
        for resident in self._residents:
            yield from resident.regions

    # ── put models on it ─────────────────────────────────────────────────────────────────────

    @torch.inference_mode(False)
    @torch.no_grad()
    def place(
        self,
        model: nn.Module,
        strategy: str = "greedy",
        *,
        seed: int = 0,
        permute: str | None = None,
        name: str | None = None,
    ) -> dict[str, tuple[Region, ...]]:
        """Put a model's crossbars on free cells of this chip, and program them.

        Calibrated converter ranges stay. Where something is refused, nothing is changed.

        Args:
            model: a converted model, or a `Crossbar`; its device and effects are the chip's.
            strategy: ``"greedy"`` (the largest matrix first, each where the fewest cells are
                broken), ``"random"``, or ``"packed"`` (each at the first place by rows).
            seed: for ``"random"``.
            permute: ``"rows"``, ``"cols"`` or ``"both"``: lay out the lines of each matrix in the
                order that suits the broken cells best; see `mho.chip.permute`. Wires, where they
                are not ideal, are solved in the matrix's own order.
            name: of the model on this chip; numbered if not given.

        Returns:
            The regions of every crossbar, one a slice, by the name that `mho.summary` shows.

        Raises:
            TypeError, ValueError: if an argument is refused, the model is on this chip already,
                is of other hardware, or does not fit.
        """
        checks.one_of("strategy", strategy, placement.STRATEGIES)
        if permute is not None:
            checks.one_of("permute", permute, WHICH)
        owner = self._new_name(name)
        weights = crossbars_of(model)
        for part, (crossbar, weight) in weights.items():
            if any(resident.crossbar is crossbar for resident in self._residents):
                raise ValueError(f"crossbar {part!r} is on this chip already; remove it first")
            refuse_other_cells(part, crossbar, weight, self.hardware, self.G.dtype)
            if permute is not None and crossbar.groups > 1:
                raise ValueError(
                    f"permute must be None for crossbar {part!r}: it has {crossbar.groups} "
                    "groups, whose lines cannot be exchanged"
                )
        residents = self._settle(owner, weights, strategy, seed)
        for resident in residents:
            self._move_in(resident, weights[resident.name][1], permute)
        self._residents += residents
        program_all(model, weights)
        return {resident.name: resident.regions for resident in residents}

    def _new_name(self, name: str | None) -> str:
        names = {resident.owner for resident in self._residents}
        if name is None:
            numbers = (f"model {i}" for i in range(1, len(names) + 2))
            return next(free for free in numbers if free not in names)
        checks.instance("name", name, str)
        if name in names:
            raise ValueError(f"there is a model named {name!r} on this chip already")
        return name

    def _settle(
        self,
        owner: str,
        weights: dict[str, tuple[Crossbar, Tensor | None]],
        strategy: str,
        seed: int,
    ) -> list[Resident]:
        sizes = [tuple(c.G.shape[1:]) for c, _ in weights.values() for _ in range(len(c.G))]
        if strategy == "greedy" and self._sums is None:
            self._sums = placement.integral(self.stuck).cpu()
        source = random.generator(random.derive(seed, "place"))
        found = placement.place(
            sizes,  # type: ignore[arg-type]
            (self.rows, self.cols),
            [*self._taken(), *self._worn()],
            strategy=strategy,
            sums=self._sums,
            source=source,
        )
        places = iter(found)
        residents = []
        for name, (crossbar, _) in weights.items():
            regions = [next(places) for _ in range(len(crossbar.G))]
            if None in regions:
                size = tuple(crossbar.G.shape[1:])
                raise ValueError(self._no_room(name, size, sizes, strategy))  # type: ignore[arg-type]
            known = tuple(r for r in regions if r is not None)
            residents.append(Resident(owner, name, known, crossbar))
        return residents

    def _worn(self) -> list[Region]:
        """Regions with a cell that may not be written again: whole bands of rows."""
        if self.endurance is None:
            return []
        self.sync()
        rows = (self.wear >= self.endurance).any(1).nonzero().flatten().tolist()
        return [Region(row, 0, 1, self.cols) for row in rows]

    def _no_room(
        self, name: str, size: tuple[int, int], sizes: list[tuple[int, int]], strategy: str
    ) -> str:
        worn = len(self._worn())
        if worn:
            return (
                f"crossbar {name!r} needs {size[0]} × {size[1]} cells, but the chip is worn out: "
                f"on {worn} of its {self.rows} word lines cells have been written "
                f"{self.endurance} times (endurance); use a new chip"
            )
        shape, taken = (self.rows, self.cols), list(self._taken())
        reason = placement.no_room(size, sizes, shape, taken, packed=strategy == "packed")
        return f"no room for crossbar {name!r}: {reason}"

    def _move_in(self, resident: Resident, weight: Tensor | None, permute: str | None) -> None:
        crossbar = resident.crossbar
        assert crossbar is not None
        device = crossbar.G.device
        broken = bool(self.stuck.any())
        if permute is not None and weight is not None:
            target, _ = crossbar._encode(weight.to(crossbar.G))
            mask, value = (resident.gather(x).to(device) for x in (self.stuck, self.G))
            resident.order(target, mask, value, permute)
        stuck, g = (resident.gather(x).to(device) for x in (self.stuck, self.G))
        states = tuple(
            {name: resident.gather(value).to(device) for name, value in state.items()}
            for state in self.states()
        )
        crossbar.inhabit(Born(states, stuck if broken else None, g), g)
        crossbar.practise(crossbar.practice.replace(own_cells=True))

    # ── their life on it ─────────────────────────────────────────────────────────────────────

    def program(self, model: nn.Module) -> None:
        """Write a model's weights to its cells again, unless these are worn out.

        ``mho.program`` does the same without asking.

        Raises:
            ValueError: if the model is not on this chip, or its cells have been written as often
                as ``endurance`` allows; nothing is then changed.
        """
        weights = crossbars_of(model)
        residents = [self._resident(crossbar) for crossbar, _ in weights.values()]
        self.sync()
        worst = max(int(resident.gather(self.wear).max()) for resident in residents)
        if self.endurance is not None and worst >= self.endurance:
            raise ValueError(
                f"the cells of {residents[0].owner!r} have been written {worst} times, and "
                f"endurance is {self.endurance}: they are worn out"
            )
        program_all(model, weights)

    def _resident(self, crossbar: Crossbar) -> Resident:
        found = [r for r in self._residents if r.crossbar is crossbar]
        if not found:
            raise ValueError("the model is not on this chip; place it first")
        self._check(found[0])
        return found[0]

    @staticmethod
    def _check(resident: Resident) -> None:
        if resident.crossbar is not None and not resident.crossbar.on_chip:
            raise ValueError(
                f"{resident.label!r} has left this chip: it was fabricated anew. Remove its model "
                "from the chip, then place it again"
            )

    def remove(self, model: nn.Module | str) -> None:
        """Free a model's cells; they keep what they hold, and their wear.

        The model goes on with a copy of its cells.

        Args:
            model: what was placed, or its name on this chip.

        Raises:
            TypeError, ValueError: if it is not on this chip.
        """
        checks.instance("model", model, (nn.Module, str))
        if isinstance(model, str):
            leaving = [r for r in self._residents if r.owner == model]
        else:
            crossbars = {id(crossbar) for crossbar, _ in crossbars_of(model).values()}
            leaving = [r for r in self._residents if id(r.crossbar) in crossbars]
        if not leaving:
            names = ", ".join(sorted({repr(r.owner) for r in self._residents})) or "none"
            raise ValueError(f"no such model on this chip; there are {names}")
        for resident in leaving:
            self._write_back(resident)
        self._residents = [r for r in self._residents if r not in leaving]

    @torch.no_grad()
    def sync(self) -> None:
        """Bring ``G`` and ``wear`` up to date with the crossbars that live on the chip.

        Raises:
            ValueError: if one of them is no longer on the chip.
        """
        for resident in self._residents:
            self._check(resident)
            self._write_back(resident)

    @torch.no_grad()
    def _write_back(self, resident: Resident) -> None:
        crossbar = resident.crossbar
        if crossbar is None or not crossbar.on_chip:
            return
        resident.scatter(crossbar.G.to(self.G), self.G)
        since, resident.counted = crossbar.writes - resident.counted, crossbar.writes
        if since:
            for region in resident.regions:
                region.of(self.wear).add_(since)

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
            regions = self.regions[region]
            checks.integer("slice", slice, least=0, most=len(regions) - 1)
            region = regions[slice]
        if region.bottom > self.rows or region.right > self.cols:
            raise ValueError(f"{region} is not on this chip of {self.rows} × {self.cols} cells")
        self.sync()
        unwritten = int((region.of(self.wear) == 0).sum())
        if unwritten:
            raise ValueError(f"{unwritten} of {region} were never written")
        return region.of(self.G).clone()

    def age(self, seconds: float) -> None:
        """Let time pass for everything that lives on the chip.

        Args:
            seconds: how long (s), >= 0.

        Raises:
            TypeError, ValueError: if it is not a non-negative number.
        """
        checks.number("seconds", seconds, least=0.0)
        for resident in self._residents:
            self._check(resident)
            if resident.crossbar is not None:
                resident.crossbar.age(seconds)

    # ── save and load ────────────────────────────────────────────────────────────────────────

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.sync()
        super()._save_to_state_dict(*args, **kwargs)

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors: plain values only."""
        regions = [
            [r.owner, r.name, [[p.row, p.col, p.height, p.width] for p in r.regions]]
            for r in self._residents
        ]
        shape = [self.rows, self.cols]
        return {"hardware": self.hardware.to_dict(), "shape": shape, "regions": regions}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back which cells are taken; models have checkpoints of their own.

        Raises:
            ValueError: if the checkpoint is of another chip.
        """
        found = {key: state[key] for key in ("hardware", "shape")}
        expected = {"hardware": self.hardware.to_dict(), "shape": [self.rows, self.cols]}
        difference = first_difference(expected, found)
        if difference:
            raise ValueError(f"this checkpoint is of another chip: {difference}")
        living = {r.label: r for r in self._residents}
        self._residents = []
        for owner, name, regions in state["regions"]:
            known = tuple(Region(*numbers) for numbers in regions)
            resident = Resident(owner, name, known)
            same = living.get(resident.label)
            keep = same is not None and same.regions == known
            self._residents.append(same if keep and same is not None else resident)
        self._sums = None

    def extra_repr(self) -> str:
        """One line: cells, defects, what is on it."""
        owners = len({resident.owner for resident in self._residents})
        broken = float(self.stuck.float().mean())
        return (
            f"{self.rows} × {self.cols} cells, {broken:.2%} stuck, {self.occupancy:.2%} taken by "
            f"{owners} model{'' if owners == 1 else 's'}"
        )

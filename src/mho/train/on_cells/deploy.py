"""Cells trained in place become the crossbars of a converted model, and come back.

    trained cells ──deploy──▶ crossbars: age, drift, are read, are saved ──recall──▶ trained on

It is the same cells all the way: their own parameters, broken cells, pulses received, conductances.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells.kin import clock_of
from mho.cells.population import Cells
from mho.core import checks, random
from mho.crossbar.crossbar import Crossbar
from mho.decomposition import Capture
from mho.hardware import Hardware
from mho.model.convert import convert
from mho.nn.base import AnalogLayer
from mho.train.on_cells.layouts import DifferentialPair
from mho.train.on_cells.matching import Plan, planned, zero_of, zero_written
from mho.train.on_cells.voltage import VoltagePulses
from mho.train.on_cells.weights import WeightCells

_SAME = 1e-6  # scales that differ by rounding
_NOISE = slice(random.PURPOSES.index("program"), None)  # streams of programming and of reading


class OnCells:
    """What optimizers share whose weights live on cells: these go into crossbars, and come back."""

    def cells_of(self, parameter: Tensor) -> WeightCells | None:
        """Return the cells that hold a parameter; None for one that is digital.

        Raises:
            ValueError: if the parameter is held by more than one crossbar can be.
        """
        raise NotImplementedError

    @property
    def watching(self) -> Capture | None:
        """What hooks of the optimizer's own record of the model; None without any."""
        raise NotImplementedError

    def parameters_on_cells(self) -> Mapping[Tensor, str]:
        """Return the names of the parameters on cells."""
        raise NotImplementedError

    def show(self, parameter: Tensor) -> None:
        """Set a parameter to what its cells hold."""
        raise NotImplementedError

    @torch.no_grad()
    def deploy(self, model: nn.Module, hardware: Hardware, **conversion: Any) -> nn.Module:
        """Return the model on crossbars that hold the trained cells, these very ones.

        They keep what they hold, their own limits, their broken cells and the pulses they have
        received. From now on the hardware acts on them: effects of aging and reading, wires,
        converters, and those of programming when they are programmed again. Effects of fabrication
        break none of them, for these cells are made already (a warning says so). Cells that the
        optimizer's ``endurance`` has ended answer no more; a warning says that a crossbar counts
        the pulses of the others, but ends none.

        A single column's offset cells are no weight's: they are made with the crossbar, and
        programmed as the hardware says; where the clock of aging goes on after a `recall`, they
        hold what the weights were read against, as it was. What cells hold is a weight the way of
        their layout, so `SingleCell` needs the encoding `SingleColumn`, `DifferentialPair` needs
        `Differential`, and `MultiCell` needs ``Redundant(SingleColumn(), copies=…)``. Layers
        without trained cells are converted and programmed as ever.

        The optimizer keeps the cells as they are now. To train on with what became of them in the
        crossbars, take them back with `recall`. Noise comes from streams of the crossbars, by
        ``seed``. They go on from where they stood at the last `recall`, so that a chip deployed
        again never draws the same noise twice; two chips deployed without a recall between, with
        one seed, do. Each cell's own drift (and other effects) it keeps from its first chip.

        Args:
            model: whose parameters this optimizer trains; not changed.
            hardware: what the crossbars are made of; its device is that of the cells, or the
                voltage-driven model whose pulses they were trained with.
            **conversion: ``seed``, ``only``, ``skip``, ``overrides`` and ``embeddings`` of
                `mho.convert`; the last True where the cells of all embeddings were trained.

        Returns:
            The converted model, in the mode of the given one.

        Raises:
            TypeError, ValueError: if the hardware cannot hold weights as the cells do, or
                `mho.convert` refuses it; the message says why.
        """
        checks.instance("model", model, nn.Module)
        tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
        if tables and all(self.cells_of(table) is not None for table in tables):
            conversion.setdefault("embeddings", True)
        with _unwatched(model, self.watching):
            chip = convert(model, hardware, **conversion)
        plans = self._plans(model, chip)
        for plan in plans:
            for part, cells in _arranged(plan).items():
                crossbar = plan.layer.crossbars[part]
                crossbar.settle(cells, torch.full_like(crossbar.scale, plan.one.frame.slope))
            for name, weights in plan.trained.items():
                parameter: Tensor = getattr(plan.layer, name)
                parameter.copy_(weights.read().view(parameter.shape))
            plan.layer.mark_programmed()
        for remark in dict.fromkeys(self._remarks(plans)):
            warnings.warn(remark, stacklevel=3)
        return chip

    @torch.no_grad()
    def recall(self, model: nn.Module, chip: nn.Module) -> None:
        """Take a converted model's cells as one's own, as they are now: training goes on with them.

        The parameters become what the cells hold: drift and programming in between are in them.
        Converter ranges and output corrections stay with the chip. Where a single column is read
        against its offset cells, these are what each weight counts from. The clock of aging goes
        on: a weight that training leaves alone drifts on, deployed again, as it would have (of one
        column, with the same ``seed``: by it offset cells differ from one another). It
        starts anew with the first pulse that any cell of the weight receives, for all of its cells;
        so it does for all weights of a layer whose clocks differ.

        Args:
            model: whose parameters this optimizer trains.
            chip: what `deploy` made of it, or any conversion of it whose crossbars hold weights as
                the optimizer's cells do; not changed.

        Raises:
            TypeError, ValueError: if it does not fit; nothing is then changed.
        """
        checks.instance("chip", chip, nn.Module)
        plans = list(self._plans(model, chip))
        taken = [one for plan in plans for one in _taken_back(plan)]
        for weights, cells, reference, reference_written, draws in taken:
            weights.take(cells, reference, reference_written=reference_written, draws=draws)
        for parameter in self.parameters_on_cells():
            self.show(parameter)

    @staticmethod
    def _remarks(plans: list[Plan]) -> Iterator[str]:
        for plan in plans:
            if any(weights.endurance is not None for weights in plan.trained.values()):
                yield (
                    "endurance: worn out cells answer no more; crossbars go on counting the pulses "
                    "of the others, but end none of them"
                )
            for effect in plan.layer.hardware.effects:
                if effect.acts_on("broken"):
                    yield (
                        f"{effect} breaks no trained cell: these are made already. To train with "
                        "broken cells recall a converted model's before the first step"
                    )

    def _of(self, parameter: Tensor) -> WeightCells:
        weights = self.cells_of(parameter)
        assert weights is not None
        return weights

    def _plans(self, model: nn.Module, chip: nn.Module) -> list[Plan]:
        checks.instance("model", model, nn.Module)
        named = dict(model.named_parameters(remove_duplicate=False))
        ours = {name: self._of(p) for name, p in named.items() if self.cells_of(p) is not None}
        plans: list[Plan] = []
        placed: dict[int, str] = {}
        for path, layer in chip.named_modules():
            if isinstance(layer, AnalogLayer):
                prefix = f"{path}." if path else ""
                own = {
                    name.removeprefix(prefix): weights
                    for name, weights in ours.items()
                    if name.startswith(prefix)
                }
                plans += planned(path or type(layer).__name__, layer, own, placed)
        found = {id(weights) for plan in plans for weights in plan.trained.values()}
        missing = [
            repr(name)
            for parameter, name in self.parameters_on_cells().items()
            if id(self._of(parameter)) not in found
        ]
        if missing:
            raise ValueError(
                f"no crossbar of this model holds {', '.join(missing)}; embeddings are converted "
                "by embeddings=True"
            )
        return plans


@contextmanager
def _unwatched(model: nn.Module, watching: Capture | None) -> Iterator[None]:
    """Take an optimizer's own hooks off a model for the time of a block: no copy has them."""
    if watching is None:
        yield
        return
    kept = [(hooks, list(hooks.items())) for hooks in (m._forward_hooks for m in model.modules())]
    try:
        for hooks, items in kept:
            for key, hook in items:
                if getattr(hook, "__self__", None) is watching:
                    del hooks[key]
        yield
    finally:
        for hooks, items in kept:
            hooks.clear()
            hooks.update(items)


def _arranged(plan: Plan) -> dict[str, Cells]:
    """Return the populations of a layer's crossbars, of the trained cells."""
    parts = [_flat(_of_hardware(w, plan.layer.hardware)) for w in plan.trained.values()]
    trained = parts[0].beside(*parts[1:])
    names = [w.cells.identity for w in plan.trained.values()]
    draws = max(int(w.draws) for w in plan.trained.values())
    owner = torch.cat([torch.full((w.count,), i) for i, w in enumerate(plan.trained.values())])
    found = {}
    for part, index in plan.index.items():
        crossbar = plan.layer.crossbars[part]
        slices, rows, cols = crossbar.G.shape
        whole, place = trained, index.expand(slices, *index.shape)
        # Every crossbar draws from a stream of its own.
        streams = _later(crossbar.cells.streams, draws)
        if cols > index.shape[1]:
            offset = _offset(crossbar, plan, index, streams, trained)
            streams = offset.streams  # programming them has drawn
            whole = trained.beside(_flat(offset))
            count = trained.shape[1]
            extra = torch.arange(count, count + rows, device=place.device).view(1, rows, 1)
            place = torch.cat((place, extra.expand(slices, -1, -1)), dim=-1)
        start = torch.arange(slices, device=place.device).view(-1, 1, 1) * whole.shape[1]
        cells = whole.gather(place + start)
        cells.streams = streams.clone()
        cells = cells.under(crossbar.hardware.behaviours)
        cells.identity = "+".join(names[i] for i in owner[index.cpu()].unique().tolist())
        found[part] = cells.to(crossbar.G)
    return found


def _of_hardware(weights: WeightCells, hardware: Hardware) -> Cells:
    """Return the cells of a weight as those of the hardware's device; the worn out are broken."""
    cells: Cells = weights.cells.fork()
    if weights.endurance is not None:
        cells.break_too(weights.worn, cells.g)
    device = weights.device
    if isinstance(device, VoltagePulses) and hardware.device != device:
        return device.driven(cells, cells.behaviours[1:])
    return cells


def _flat(cells: Cells) -> Cells:
    """Return cells ``[slices, …]`` as ``[slices, n]``."""
    count = cells.g.numel()
    return cells.gather(torch.arange(count, device=cells.g.device).view(cells.shape[0], -1))


def _later(streams: Tensor, draws: int) -> Tensor:
    """Return a crossbar's streams of noise as they are after so many more draws."""
    later = streams.clone()
    for stream in later[_NOISE]:
        random.skip(stream, draws)
    return later


def _offset(
    crossbar: Crossbar, plan: Plan, index: Tensor, streams: Tensor, trained: Cells
) -> Cells:
    """Return a crossbar's own offset cells ``[slices, rows, 1]``, which go with trained cells.

    They are programmed, by the streams given. Where the clock of the trained cells goes on, they
    stand for those that were there before, as they were.
    """
    place = torch.arange(crossbar.G.numel(), device=crossbar.G.device).view(crossbar.G.shape)
    cells = crossbar.cells.gather(place[..., -1:])
    zero = zero_of(plan, index)
    assert zero is not None
    cells.writes = torch.zeros_like(cells.writes)  # what the conversion wrote is not to count
    cells.streams = streams.clone()
    if clock_of(trained) == (0.0, 0.0):
        cells.program(zero.to(cells.g), crossbar.hardware.policy)
        return cells.under(trained.behaviours)
    cells.hold(zero.to(cells.g))
    cells.seconds, cells.reads = clock_of(trained)
    written = zero_written(plan, index)
    if written is not None:
        cells.written, cells.written_at = written.to(cells.g), trained.written_at
    return cells.under(trained.behaviours)


def _taken_back(plan: Plan) -> Iterator[tuple[WeightCells, Cells, Tensor, Tensor | None, int]]:
    """Return, for every weight, its cells as they are in the crossbars now, and the references.

    And what the cells referred to held when written, where they know, and how often the crossbars
    have drawn noise.
    """
    for part in plan.index:
        _check_scale(plan.layer.crossbars[part], plan.one)
    bars = [plan.layer.crossbars[part] for part in plan.index]
    slices, start, places, zeros = plan.one.layout.slices, 0, [], []
    pair = isinstance(plan.one.layout, DifferentialPair)
    for bar, index in zip(bars, plan.index.values(), strict=True):
        _, rows, physical = bar.G.shape
        place = torch.arange(rows * physical, device=index.device).view(rows, physical) + start
        places.append(place[:, : index.shape[1]].flatten())
        zeros.append(_last_column(bar.G, index))
        start += rows * physical
    order = torch.cat([index.flatten() for index in plan.index.values()]).argsort()
    place, zero = torch.cat(places)[order], torch.cat(zeros, dim=1)[:, order]
    parts = [_flat(bar.cells) for bar in bars]
    whole = parts[0].beside(*parts[1:])
    rest = torch.arange(slices, device=place.device).unsqueeze(1) * whole.shape[1]
    both = zip((bar.cells.written for bar in bars), plan.index.values(), strict=True)
    knowing = [_last_column(g, index) for g, index in both if g is not None]
    known = whole.written is not None and not pair
    written = torch.cat(knowing, dim=1)[:, order] if known else None
    draws = max(int(bar.cells.streams[_NOISE, 1].max()) for bar in bars)
    at = 0
    for weights in plan.trained.values():
        some = slice(at, at + weights.count)
        shape = (slices, *weights.shape)
        cells = whole.gather((place[some] + rest).view(shape))
        at += weights.count
        reference = zero[:, some].view(shape)
        if pair or bool((reference == weights.frame.zero).all()):
            reference = weights.cells.g.new_tensor(weights.frame.zero)
        before = None if written is None else written[:, some].view(shape)
        yield weights, cells, reference, before, draws


def _last_column(g: Tensor, index: Tensor) -> Tensor:
    """Return what a crossbar's last column holds, for each weight ``[slices, rows · cols]``."""
    return g[..., -1:].expand(-1, -1, index.shape[1]).flatten(1)


def _check_scale(crossbar: Crossbar, weights: WeightCells) -> None:
    slope, scale = weights.frame.slope, crossbar.scale
    if torch.allclose(scale, torch.full_like(scale, slope), rtol=_SAME, atol=0.0):
        return
    trouble = "its columns have scales of their own"
    if not scale.dim():
        reach = weights.high * float(scale) / slope
        trouble = (
            f"a conductance stands for {float(scale) / slope:.4g} times the weight that it did "
            f"(programming chose a new scale): that needs a weight_range up to {reach:.6g}"
        )
    raise ValueError(f"the cells cannot be taken back: {trouble}")

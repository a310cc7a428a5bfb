"""Which layer of a model on crossbars errs, and why: the errors that each stage of a read adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mho.analysis.stages import CAUSES, outputs, product
from mho.core import checks, notice
from mho.core.text import percent, progress, table
from mho.crossbar import Crossbar
from mho.model.crossbars import Entry, listing
from mho.model.inputs import batches_of
from mho.model.observe import observed, watched


@dataclass(frozen=True)
class LayerError:
    """Errors of one crossbar's outputs, relative to the size of the exact ones (root mean square).

    Attributes:
        name: as `mho.summary` shows it.
        kind: of layer.
        arriving: error of its inputs, from the layers before it, relative to the exact inputs; NaN
            where a model that routes its vectors sends others there when it is exact.
        added: what each stage changes, by cause (`CAUSES`, those that its hardware has).
        shares: of the squared error of its own outputs, by cause; they sum to 1. A stage that makes
            up for others has a negative one.
        own: error of its outputs for the inputs that arrive.
        alone: error of the model's outputs with all other layers exact; None if not asked for.
    """

    name: str
    kind: str
    arriving: float
    added: dict[str, float]
    shares: dict[str, float]
    own: float
    alone: float | None = None

    @property
    def cause(self) -> str:
        """The stage with the largest share of its own error; ``""`` if there is no error."""
        return max(self.shares, key=self.shares.__getitem__) if self.own > 0.0 else ""


@dataclass(frozen=True)
class LayerErrors:
    """What `layers` returns; print it, index it by a layer's name, or draw it.

    Attributes:
        layers: in the order in which the model has them.
        outputs: error of the model's outputs, all layers on crossbars, relative to exact ones.
        unseen: crossbars that the inputs did not reach (or that are read transposed only).
    """

    layers: tuple[LayerError, ...]
    outputs: float
    unseen: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> LayerError:
        """Return the errors of a layer (KeyError, naming those there are)."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"{name!r}; layers are {[layer.name for layer in self.layers]}")

    @property
    def causes(self) -> tuple[str, ...]:
        """Stages that some layer has, in the order of a signal's way."""
        return tuple(c for c in CAUSES if any(c in layer.added for layer in self.layers))

    @property
    def worst(self) -> LayerError:
        """The layer that harms the model's outputs most; if that was not asked for, its own."""
        return max(self.layers, key=lambda e: e.own if e.alone is None else e.alone)

    def __str__(self) -> str:
        """A table: a row a layer, a column a cause."""
        whole = any(layer.alone is not None for layer in self.layers)
        head = ["layer", "arriving", *self.causes, "own", *(["at the outputs"] if whole else [])]
        head.append("mostly")
        rows = []
        for e in self.layers:
            cells = [_shown(e.added.get(c)) for c in self.causes]
            alone = [] if e.alone is None else [percent(e.alone)]
            rows.append(
                [e.name, percent(e.arriving), *cells, percent(e.own), *alone, e.cause or "–"]
            )
        last = f"error of the model's outputs, all layers: {percent(self.outputs)}"
        missed = f"\nnot reached: {', '.join(self.unseen)}" if self.unseen else ""
        return f"{table(head, rows)}\n{last}{missed}"


def _shown(error: float | None) -> str:
    if error is None:
        return "–"
    return "<0.01 %" if 0.0 < error < 1e-4 else percent(error)


@torch.no_grad()
def layers(
    model: nn.Module,
    inputs: Tensor | Iterable[Any],
    *,
    vectors: int = 1024,
    alone: bool = True,
) -> LayerErrors:
    """Say layer by layer which error each stage adds: which layer, and which cause.

    Every crossbar is read again with the inputs that reach it, first as the exact product of its
    weights, then with one more stage at a time: encoding, programming, broken cells, drift, wires,
    drivers, amplifiers, the range of converters, their codes, read noise, and the correction that
    calibration found. What a stage adds is the difference to the stage before. The differences
    ``d`` add up to the whole error ``e``, so ``⟨d, e⟩ / ⟨e, e⟩`` are shares that sum to 1.

    The exact model (digital layers and exact products with the digital weights) is run beside it:
    against this, ``arriving`` and the model's outputs are measured.

    Args:
        model: a converted model, programmed; it is not changed, nor its randomness.
        inputs: in any form that `mho.calibrate` takes.
        vectors: of each crossbar that are looked at, at most, evenly spaced over all, >= 1.
        alone: whether to run the model once for each layer, all others exact, and say what it does
            to the model's outputs.

    Returns:
        Errors of every layer that the inputs reach.

    Raises:
        TypeError: if inputs are of another kind.
        ValueError: if the model has no crossbars, one is not programmed, there are no inputs, or
            the model's outputs hold no numbers, or not as many when it is exact.
    """
    vectors = checks.integer("vectors", vectors)
    alone = checks.truth("alone", alone)
    batches = batches_of(inputs, model)
    found = listing(model)
    weights = {entry.crossbar: _weight(entry) for entry in found}
    crossbars = list(weights)
    states = [(c, c.cells.streams.clone()) for c in crossbars]
    try:
        with torch.random.fork_rng(), observed(model, crossbars, lambda now: now):
            return _errors(Runs(model, batches, weights), found, vectors, alone)
    finally:
        for crossbar, streams in states:
            crossbar.cells.streams.copy_(streams)


def _weight(entry: Entry) -> Tensor:
    weight = entry.weight() if entry.crossbar.fabricated else None
    if weight is None or bool(entry.crossbar.reference.isnan().any()):
        raise ValueError(
            f"{entry.name or 'the crossbar'} is not programmed: mho.program(model) writes the cells"
        )
    return weight


class Runs:
    """Runs of one model on the same batches, some of its crossbars exact.

    Args:
        model: as it is to be read.
        batches: of inputs, as `mho.model.inputs.batches_of` returns them.
        weights: exact ones, by crossbar.
    """

    def __init__(
        self, model: nn.Module, batches: list[Any], weights: dict[Crossbar, Tensor]
    ) -> None:
        self.model, self.batches, self.weights = model, batches, weights
        self._size = 0  # of the outputs

    def outputs(self, exact: Iterable[Crossbar] = ()) -> Tensor:
        """Return all numbers of the model's outputs, flat, some crossbars exact."""
        with self._exact(exact):
            given = [
                self.model(**batch) if isinstance(batch, Mapping) else self.model(batch)
                for batch in self.batches
            ]
        numbers = [t for t in pytree.tree_leaves(given) if isinstance(t, Tensor)]
        floating = [t.double().flatten() for t in numbers if t.is_floating_point()]
        if not floating:
            raise ValueError("the model's outputs hold no floating-point tensor")
        found = torch.cat(floating)
        self._size = self._size or len(found)
        if len(found) != self._size:
            raise ValueError(
                f"the model's outputs must hold as many numbers whatever its layers' errors, got "
                f"{self._size} and {len(found)}"
            )
        return found

    def inputs(self, every: dict[Crossbar, int], exact: Iterable[Crossbar] = ()) -> Any:
        """Return inputs of crossbars ``[vectors, rows]``, of every so many one."""
        kept: dict[Crossbar, list[Tensor]] = {}
        seen: dict[Crossbar, int] = dict.fromkeys(self.weights, 0)

        def see(crossbar: Crossbar, x: Tensor, _: Tensor) -> None:
            step = every[crossbar]
            kept.setdefault(crossbar, []).append(x[-seen[crossbar] % step :: step].clone())
            seen[crossbar] += len(x)

        with self._exact(exact), watched(list(self.weights)) as watch:
            watch(self.model, self.batches, see)
        return {crossbar: torch.cat(parts) for crossbar, parts in kept.items()}

    def counts(self) -> dict[Crossbar, int]:
        """Return how many vectors reach every crossbar."""
        counted = dict.fromkeys(self.weights, 0)

        def see(crossbar: Crossbar, x: Tensor, _: Tensor) -> None:
            counted[crossbar] += len(x)

        with watched(list(self.weights)) as watch:
            watch(self.model, self.batches, see)
        return counted

    @contextmanager
    def _exact(self, crossbars: Iterable[Crossbar]) -> Iterator[None]:
        """Let some crossbars answer with exact products meanwhile."""

        def answer(crossbar: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
            assert isinstance(crossbar, Crossbar)
            x, bias = args[0], args[1] if len(args) > 1 else None
            weight = self.weights[crossbar]
            flat = product(x.reshape(-1, x.shape[-1]).to(weight), weight, crossbar.groups)
            flat = flat if bias is None else flat + bias
            return flat.view(y.shape).to(y)

        handles = [crossbar.register_forward_hook(answer) for crossbar in crossbars]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _errors(runs: Runs, found: list[Entry], vectors: int, alone: bool) -> LayerErrors:
    everything = set(runs.weights)
    counts = runs.counts()
    every = {crossbar: -(-count // vectors) or 1 for crossbar, count in counts.items()}
    exact_inputs = runs.inputs(every, everything)
    inputs = runs.inputs(every)
    exact = runs.outputs(everything)
    errors, unseen = [], []
    for entry in progress(found, "layers"):
        crossbar = entry.crossbar
        x = inputs.get(crossbar)
        if x is None or not len(x):
            unseen.append(entry.name)
            continue
        arriving = _arriving(x, exact_inputs.get(crossbar))
        added, shares, own = _stages(crossbar, runs.weights[crossbar], x)
        last = relative(runs.outputs(everything - {crossbar}) - exact, exact) if alone else None
        errors.append(LayerError(entry.name, entry.kind, arriving, added, shares, own, last))
    if unseen:
        notice.warn(f"no vector reached {', '.join(unseen)}: their errors are not known")
    return LayerErrors(tuple(errors), relative(runs.outputs() - exact, exact), tuple(unseen))


def _arriving(x: Tensor, exact: Tensor | None) -> float:
    if exact is None or exact.shape != x.shape:
        return math.nan
    return relative(x - exact, exact)


def _stages(
    crossbar: Crossbar, weight: Tensor, x: Tensor
) -> tuple[dict[str, float], dict[str, float], float]:
    """Return what each stage adds, its share of the squared error, and the error."""
    steps: dict[str, Tensor] = {}
    exact = before = torch.zeros((), dtype=torch.float64)
    for cause, y in outputs(crossbar, weight, x):
        if cause == "exact":
            exact = before = y.double()
            continue
        steps[cause], before = y.double() - before, y.double()
    error = before - exact
    whole = float(error.square().sum())
    added = {cause: relative(step, exact) for cause, step in steps.items()}
    shares = {c: float((step * error).sum()) / whole if whole else 0.0 for c, step in steps.items()}
    return added, shares, relative(error, exact)


def relative(error: Tensor, exact: Tensor) -> float:
    """Return the size of an error relative to what is exact; to 1 where that is nothing."""
    norm: Callable[[Tensor], Tensor] = torch.linalg.vector_norm
    size = float(norm(exact))
    return float(norm(error)) / size if size else float(norm(error))

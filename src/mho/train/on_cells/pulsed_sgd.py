"""PulsedSGD: stochastic gradient descent that the memory cells do themselves, by pulses."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mho.cells.device import Device
from mho.core import checks, random
from mho.decomposition.capturing import Capture, capture
from mho.devices.pulsed import PulsedDevice
from mho.train import finite, rates, states
from mho.train.distributed import SharedSamples
from mho.train.on_cells import checkpoint
from mho.train.on_cells.arrays import Arrays, Exchange, parts
from mho.train.on_cells.choice import cells_dtype, matrix_shape, per_parameter
from mho.train.on_cells.coincidence import PulsedUpdate, StochasticPulses
from mho.train.on_cells.deploy import OnCells
from mho.train.on_cells.layouts import CellLayout, check_range
from mho.train.on_cells.parameter import pulsed, warn_clipped
from mho.train.on_cells.report import rows
from mho.train.on_cells.saturation import Lookout
from mho.train.on_cells.weights import ONE_CELL, WeightCells
from mho.train.wrapper import WholeCopies

Devices = Device | Mapping[Any, Device | None]
"""Of all cells, or by parameter or name pattern."""


class PulsedOptimizer(OnCells, WholeCopies):
    """Base of optimizers whose weight updates are pulses on cells.

    The weights of linear, convolutional and recurrent layers live on cells; biases and all other
    parameters are digital and take plain SGD steps. Works as any ``torch.optim`` optimizer does,
    with two parameter groups: the weights on cells, and the digital parameters.

    The update is made from the layers' inputs and errors, which hooks record from now on, not from
    ``.grad``: scaling or clipping ``.grad`` acts on the digital parameters only, so loss scaling
    (`torch.amp.GradScaler`) is not for it. Gradients that the model has already are forgotten. A
    weight set by someone else (a checkpoint, say) is written to the cells before the next update.

    Of a model in `torch.nn.parallel.DistributedDataParallel` every process has arrays of its own.
    All see the inputs and errors of all processes (``exchange``), so that arrays of the same seed
    stay the same bit for bit.

    Attributes:
        arrays: what holds each weight, by the parameter's name.
        capture: the hooks; ``capture.remove()`` takes them off the model again.
        update: how inputs and errors become pulses.
        exchange: makes inputs and errors, and digital gradients, those of all processes (see
            `mho.train.distributed.SharedSamples`), or None: this process learns alone.
    """

    exchange: Exchange | None = None

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        *,
        device: Devices,
        weight_range: tuple[float, float],
        update: PulsedUpdate | None,
        seed: int,
    ) -> None:
        checks.instance("model", model, nn.Module)
        lr = checks.number("lr", lr, above=0.0)
        seed = checks.integer("seed", seed, least=0)
        low, high = check_range(weight_range)
        self.update: PulsedUpdate = StochasticPulses() if update is None else update
        checks.instance("update", self.update, PulsedUpdate)
        devices = _devices(model, device)
        named = dict(model.named_parameters())
        on_cells = [named[name] for name in devices]
        digital = [p for name, p in named.items() if name not in devices]
        super().__init__([{"params": on_cells}, {"params": digital}], {"lr": lr})
        if isinstance(model, nn.parallel.DistributedDataParallel):
            self.exchange = SharedSamples(process_group=model.process_group)
        self._name: dict[Tensor, str] = {named[name]: name for name in devices}
        self._digital = {p: name for name, p in named.items() if name not in devices}
        self.arrays: dict[str, Arrays] = {}
        self._versions: dict[str, int] = {}
        self._seen: dict[str, tuple[tuple[Tensor, int], ...]] = {}
        outside: dict[str, int] = {}
        for name, cell in devices.items():
            p = named[name]
            checks.finite(f"weight {name}", p)
            outside[name] = int(((p < low) | (p > high)).sum())
            kind: dict[str, Any] = {"dtype": cells_dtype(p), "torch_device": p.device}
            seed_here = random.derive(seed, name)
            self.arrays[name] = self._array(matrix_shape(p), cell, seed_here, kind)
            self._write(name, p)
        warn_clipped(outside, sum(p.numel() for p in on_cells))
        self.capture = capture(model)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_seen": {}})  # a copy's cells are others than were seen

    def _array(
        self, shape: tuple[int, int], cell: PulsedDevice, seed: int, kind: dict[str, Any]
    ) -> Arrays:
        """Return what holds a weight; ``kind`` are the cells' ``dtype`` and ``torch_device``."""
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients and the inputs and errors behind them."""
        super().zero_grad(set_to_none)
        self.capture.clear()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the cells by pulses, all other parameters digitally.

        Parameters whose gradient is not finite are left as they are, with a warning.

        Args:
            closure: evaluates the model anew and returns the loss.

        Returns:
            The closure's loss, if there is one.

        Raises:
            RuntimeError: if a weight has a gradient, but its layer's inputs were not seen.
            TypeError, ValueError: if a learning rate is no finite number >= 0.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        learning = rates.by_parameter(self.param_groups)
        bad = finite.bad_gradients(learning)
        if bad:
            shown = {self._called(p): gradient for p, gradient in bad.items()}
            finite.warn("pulsed step: gradients are", shown)
        lookout = vars(self).setdefault("_lookout", Lookout())
        if lookout.due:
            self._watch(lookout, learning)
        fit = [p.grad is not None and p not in bad for p in learning]
        if self.exchange is not None:
            fit = self.exchange.agreed(fit, next(iter(learning)))
        held = {p: cells for cells, p, _ in self._on_cells(learning)}  # of parts the last: C
        for (p, lr), good in zip(learning.items(), fit, strict=True):
            if good and p.grad is not None:
                if p in held:
                    lookout.follow(p, held[p], p.grad, -lr)
                self._move(p, lr)
        lookout.look((cells, lr) for cells, _, lr in self._on_cells(learning))
        lookout.stalled(held)
        lookout.lost(loss, self)
        return loss

    def _watch(self, lookout: Lookout, learning: Mapping[nn.Parameter, float]) -> None:
        """Note where weights are, and how far this update asks them to move."""
        lookout.begin(cells for cells, _, _ in self._on_cells(learning))
        if getattr(getattr(self, "rule", None), "fast_lr", None) is not None:
            return  # the rate of updates is that rule's own
        for cells, p, lr in self._on_cells(learning):
            if p.grad is not None:
                lookout.ask(cells, p.grad, lr)

    def _on_cells(
        self, learning: Mapping[nn.Parameter, float]
    ) -> Iterator[tuple[WeightCells, nn.Parameter, float]]:
        """Yield the cells of every weight with its parameter and its learning rate."""
        for p, lr in learning.items():
            if p in self._name:
                for cells in parts(self.arrays[self._name[p]]).values():
                    yield cells, p, lr

    def _move(self, p: nn.Parameter, lr: float) -> None:
        name = self._name.get(p)
        if name is None:
            gradient = cast(Tensor, p.grad)
            p.add_(gradient if self.exchange is None else self.exchange.mean(gradient), alpha=-lr)
            return
        factors = self.capture.of(p)
        if factors is None:
            raise RuntimeError(
                f"{name} has a gradient, but no inputs and errors of its layer were seen: the "
                "layer must be called as a module, after this optimizer was made"
            )
        if self._versions[name] != p._version:
            self._write(name, p)
        if self.exchange is not None:
            factors = self.exchange.samples(*factors, name)
        array = self.arrays[name]
        shown = self._shows(name)
        moved = array.descend(*factors, lr, self.update)
        self._show(name, p, moved if shown else None)

    def summary(self) -> str:
        """Return a table of all parameters: where they live, and what was written."""
        found: list[tuple[str, Sequence[int], WeightCells | None]] = []
        for p, name in self._name.items():
            for part, cells in parts(self.arrays[name]).items():
                found.append((f"{name} ({part})" if part else name, p.shape, cells))
        names = vars(self).get("_digital", {})
        digital = [p for group in self.param_groups for p in group["params"] if p not in self._name]
        found.extend((names.get(p, "other"), p.shape, None) for p in digital)
        return rows(found)

    def __repr__(self) -> str:
        """Say what is trained how, and where it lives."""
        rule = f", rule={self.rule}" if hasattr(self, "rule") else ""
        rates = ", ".join(dict.fromkeys(f"{float(group['lr']):g}" for group in self.param_groups))
        return f"{type(self).__name__}(lr={rates}, update={self.update}{rule})\n{self.summary()}"

    __str__ = __repr__

    def _called(self, p: Tensor) -> str:
        return repr(self._name[p]) if p in self._name else f"a parameter of shape {list(p.shape)}"

    def _write(self, name: str, p: Tensor) -> None:
        # Someone else has set the weight (a checkpoint, say): the cells follow.
        array, weight = self.arrays[name], p.detach().flatten(1)
        if not torch.equal(weight, array.read().to(weight)):
            array.write(weight)
        self._show(name, p)

    def _shows(self, name: str) -> bool:
        # Whether the parameter holds what its cells said, and nobody has moved them since.
        array = self.arrays[name]
        if not isinstance(array, WeightCells) or name not in self._seen:
            return False
        now = array.cells.g, array.reference
        seen = zip(self._seen[name], now, strict=True)
        return all(x is y and version == y._version for (x, version), y in seen)

    @torch.no_grad()
    def _show(self, name: str, p: Tensor, moved: Tensor | None = None) -> None:
        """Set a parameter to what its cells hold; only where they moved, where that is known."""
        array = self.arrays[name]
        cellwise = isinstance(array, WeightCells) and array.layout.cellwise
        if moved is not None and cellwise and p.is_contiguous():
            array = cast(WeightCells, array)
            p.view(-1).index_copy_(0, moved, array.read_at(moved).to(p.dtype))
        else:
            p.copy_(array.read().view_as(p))
        self._versions[name] = p._version
        if isinstance(array, WeightCells):
            now = array.cells.g, array.reference
            self._seen[name] = tuple((x, x._version) for x in now)

    @property
    def watching(self) -> Capture:
        """What hooks of the optimizer's own record of the model."""
        return self.capture

    def parameters_on_cells(self) -> Mapping[Tensor, str]:
        """Return the names of the parameters on cells."""
        return self._name

    def cells_of(self, parameter: Tensor) -> WeightCells | None:
        """Return the cells that hold a parameter; None for one that is digital."""
        name = self._name.get(parameter)
        if name is None:
            return None
        if self._versions[name] != parameter._version:
            self._write(name, parameter)
        return self._holding(self.arrays[name])

    def _holding(self, array: Any) -> WeightCells:
        """Return the cells that alone hold a weight (ValueError if none do)."""
        weights: WeightCells = array
        return weights

    def show(self, parameter: Tensor) -> None:
        """Set a parameter to what its cells hold."""
        self._show(self._name[parameter], parameter)

    def pulses(self) -> dict[str, Tensor]:
        """Return how many pulses each cell has received ``[cells, out, in]``, by array's name."""
        return {
            f"{name}.{part}".rstrip("."): cells.writes
            for name, array in self.arrays.items()
            for part, cells in array.named_modules()
            if isinstance(cells, WeightCells)
        }

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs beside the model, cells and randomness included."""
        arrays = {name: array.state_dict() for name, array in self.arrays.items()}
        return {**super().state_dict(), "is": self._identity(), "arrays": arrays}

    def _identity(self) -> dict[str, Any]:
        """Return, as plain values, what a checkpoint must agree on."""
        rule = getattr(self, "rule", None)
        held = {
            f"{name}.{part}".rstrip("."): (list(cells.shape), cells)
            for name, array in self.arrays.items()
            for part, cells in parts(array).items()
        }
        return {"rule": None if rule is None else rule.to_dict(), **checkpoint.identity_of(held)}

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the model's weights follow the cells.

        Raises:
            TypeError, ValueError: if the state is no such thing, or of other arrays, cells or
                rules; nothing is then changed.
        """
        checks.instance("state_dict", state_dict, Mapping)
        arrays = state_dict.get("arrays")
        if not isinstance(arrays, Mapping) or set(arrays) != set(self.arrays):
            found = "none" if not isinstance(arrays, Mapping) else ", ".join(map(repr, arrays))
            raise ValueError(
                f"state_dict must have the arrays {', '.join(map(repr, self.arrays))}; "
                f"found {found}"
            )
        states.refuse_other(self, state_dict)
        if "is" in state_dict:  # older checkpoints do not say what they are of
            checkpoint.refuse_other(self._identity(), state_dict["is"])
        before = copy.deepcopy(self.state_dict())
        try:
            self._take(state_dict)
        except BaseException as error:
            self._take(before)
            if isinstance(error, RuntimeError):  # torch's, of a module
                raise ValueError(f"this checkpoint does not fit the optimizer: {error}") from error
            raise

    def _take(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict({k: state[k] for k in ("state", "param_groups")})
        for p, name in self._name.items():
            self.arrays[name].load_state_dict(state["arrays"][name])
            self._show(name, p)


class PulsedSGD(PulsedOptimizer):
    """Plain SGD done by the cells: the rank-one update by coincidences of stochastic pulses.

    A weight is one pulse-count cell over ``weight_range``, or what ``layout`` says. Each step's
    update of a layer, ``−lr·Σ δ xᵀ``, is made of pulses where the trains of its inputs and errors
    coincide (`StochasticPulses`), and the weight is what the cells then hold: with their step size,
    asymmetry, bounds and noise. A pulse is worth what it is to `InSitu`, the cells' step at
    mid-window; Δw_min is the mean of both directions. Asymmetric cells do not converge to the
    minimum, but towards their symmetry point (T. Gokmen, W. Haensch, "Algorithm for training neural
    networks on resistive device arrays", Frontiers in Neuroscience 2020,
    doi 10.3389/fnins.2020.00103); `TikiTaka` mends this.

    Args:
        model: a plain or converted model; the weights of its linear, convolutional and recurrent
            layers go on cells and are set to what the cells can hold.
        lr: learning rate, > 0.
        device: what the cells are: a pulse-count device, a voltage-driven one (pulses are found
            for it), or a mapping from parameters or name patterns to devices, the first match
            counting; None in it leaves digital.
        weight_range: weights at a nominal cell's lowest and highest conductance.
        layout: how cells hold a weight; pairs are refreshed as they say, counting updates.
        update: how inputs and errors become pulses; `StochasticPulses()` if not given.
        granularity: change of a weight that is taken for one pulse's; the device's if not given.
        endurance: pulses after which a cell answers no more.
        seed: of the cells and the pulses.

    Raises:
        TypeError, ValueError: if an argument is refused, or nothing would be on cells.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 0.1,
        *,
        device: Devices,
        weight_range: tuple[float, float] = (-1.0, 1.0),
        layout: CellLayout = ONE_CELL,
        update: PulsedUpdate | None = None,
        granularity: float | tuple[float, float] | None = None,
        endurance: int | None = None,
        seed: int = 0,
    ) -> None:
        self._cells: dict[str, Any] = {
            "weight_range": weight_range,
            "layout": layout,
            "granularity": granularity,
            "endurance": endurance,
        }
        super().__init__(
            model, lr, device=device, weight_range=weight_range, update=update, seed=seed
        )

    def _array(
        self, shape: tuple[int, int], cell: PulsedDevice, seed: int, kind: dict[str, Any]
    ) -> Arrays:
        return WeightCells(cell, shape, seed=seed, **self._cells, **kind)


def _devices(model: nn.Module, device: Any) -> dict[str, PulsedDevice]:
    model.zero_grad()  # gradients of before are no use: nobody saw what they are made of
    with capture(model) as samples:
        missing = samples.missing
    known: dict[Tensor, str] = {
        p: name for name, p in model.named_parameters() if p.dim() >= 2 and name not in missing
    }
    chosen = per_parameter("device", device, known, missing)
    found = {known[p]: pulsed(kind) for p, kind in chosen.items() if kind is not None}
    if not found:
        raise ValueError(
            "the model has no linear, convolutional or recurrent layer to put on cells, or all "
            "are left digital" + "".join(f"; {name}: {why}" for name, why in missing.items())
        )
    if missing and not isinstance(device, Mapping):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        warnings.warn(f"weights that stay digital: {reasons}", stacklevel=5)
    return found

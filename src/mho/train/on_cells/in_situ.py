"""In-situ training: any torch optimizer proposes, and the cells answer in pulses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells.device import Device
from mho.core import checks
from mho.decomposition import Capture, Decomposition, Factors
from mho.train import finite, rates, states
from mho.train.on_cells import checkpoint, gradients
from mho.train.on_cells.choice import Predicate, is_matrix, names_of, parameters_of
from mho.train.on_cells.deploy import OnCells
from mho.train.on_cells.held import HeldParameters
from mho.train.on_cells.layouts import CellLayout
from mho.train.on_cells.pulses import PulseRule, Scratch
from mho.train.on_cells.report import table
from mho.train.on_cells.saturation import Lookout
from mho.train.on_cells.weights import ONE_CELL, WeightCells
from mho.train.wrapper import Wrapper

INITIALISE = ("write", "program")

Range = tuple[float, float]
PerParameter = Mapping[Any, Any]  # by parameter or name pattern


class _NotFiniteError(Exception):
    """A gradient met inside of an optimizer that calls its closure itself."""


class InSitu(OnCells, Wrapper):
    """A torch optimizer whose weights live on memory cells: training on the chip itself.

    ``opt = InSitu(torch.optim.SGD(model.parameters(), lr=0.1), device)``, then
    ``opt.zero_grad()``, ``loss.backward()`` and ``opt.step()`` as ever. Every step the given
    optimizer makes a digital proposal, its learning rate included. What lies between the proposal
    and what the cells held, Δw, becomes a number of pulses, Δw over what one is worth (the cells'
    step at mid-window, see `PulseRule` and `pulse_steps`); the device answers them as its model
    says; and the parameter is then set to exactly what the cells hold. What else moves a parameter
    between steps (a constraint, say) is taken for part of the next proposal; after
    loading weights call `write`. Changes below the precision of the parameter's dtype are lost, as
    with any optimizer.

    Weights and kernels live on cells, viewed as matrices ``[out, in]``; vectors (biases,
    normalisation) stay digital, and the given optimizer moves them alone. Gradients that are not
    finite are passed by: neither that parameter nor the optimizer's memory of it is touched, and
    a warning says so. Under a `torch.amp.GradScaler` use ``scaler.step(opt)`` as with any
    optimizer. Optimizers that call their closure several times (LBFGS) search among digital
    proposals; the cells are written once, at the end.

    Args:
        optimizer: any `torch.optim` optimizer over the parameters; its ``param_groups`` and
            ``state`` are shared, so schedulers work on either.
        device: what the cells are: a pulse-count device, a voltage-driven one (pulses are found
            for it, see `VoltagePulses.for_device`), or a mapping from parameters or name patterns
            to devices, the first match counting; None in it leaves digital.
        decomposition: of `mho.decomposition`; the optimizer then sees low-rank gradients of the
            matrices on cells.
        weight_range: what the window of a cell stands for, ``(low, high)``; or such a mapping.
        layout: how cells hold a weight, `SingleCell`, `DifferentialPair` or `MultiCell`; or such
            a mapping.
        model: gives parameters their names, and lets a decomposition that streams see inputs
            and errors. A converted model goes on reading its parameters, which these cells then
            hold, through crossbars with cells of their own: for one chip train the plain model, and
            `deploy` it.
        on_cells: ``(name, parameter) -> bool``, which parameters live on cells.
        rounding: of numbers of pulses, ``"stochastic"`` or ``"nearest"``.
        threshold: steps that must have come together before pulses are written, >= 1 (mixed
            precision); None writes at once. See `PulseRule`.
        max_pulses: most pulses of a weight in one update.
        granularity: change of a weight that is taken for one pulse's, or that of a pulse up and of
            one down; the device's step at mid-window if not given.
        endurance: pulses after which a cell answers no more.
        ranks: ``"summed"``: a decomposed gradient is one write; ``"one_by_one"``: each of its
            outer products has pulses of its own (plain SGD only).
        initialise: how the first weights come to the cells: ``"write"`` (exactly, no pulse) or
            ``"program"`` (pulses and reads).
        seed: of everything random; each parameter's own follows from its name.

    Attributes:
        inner: the given optimizer.
        held: the parameters on cells, and what holds them.
        skipped: how often a parameter was passed by, by name.

    Raises:
        TypeError, ValueError: if an argument is refused, or no parameter would live on cells.
    """

    _lookout: Lookout

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        device: Device | PerParameter,
        *,
        decomposition: Decomposition | None = None,
        weight_range: Range | PerParameter = (-1.0, 1.0),
        layout: CellLayout | PerParameter = ONE_CELL,
        model: nn.Module | None = None,
        on_cells: Predicate | None = None,
        rounding: str = "stochastic",
        threshold: float | None = None,
        max_pulses: int | None = None,
        granularity: float | tuple[float, float] | None = None,
        endurance: int | None = None,
        ranks: str = "summed",
        initialise: str = "write",
        seed: int = 0,
    ) -> None:
        checks.instance("optimizer", optimizer, torch.optim.Optimizer)
        if isinstance(optimizer, InSitu):
            raise TypeError("optimizer must be a digital one, got an InSitu")
        if model is not None:
            checks.instance("model", model, nn.Module)
        checks.one_of("initialise", initialise, INITIALISE)
        checks.one_of("ranks", ranks, gradients.RANKS)
        seed = checks.integer("seed", seed, least=0)
        if ranks == "one_by_one" and decomposition is None:
            raise ValueError("ranks='one_by_one' needs a decomposition")
        self.rule = PulseRule(rounding, threshold, max_pulses)
        self._model, self._ranks = model, ranks
        self.held = HeldParameters(
            {"device": device, "weight_range": weight_range, "layout": layout},
            {"rule": self.rule, "granularity": granularity, "endurance": endurance},
            on_cells or is_matrix,
            initialise == "program",
            seed,
        )
        self.skipped: dict[str, int] = {}
        self.updates = 0
        self._scratch = Scratch()
        super().__init__(optimizer)
        self._calls_closure = gradients.needs_closure(optimizer)
        self._decomposed: gradients.Decomposed | None = None
        if ranks == "one_by_one":
            gradients.rates(optimizer)
        names = names_of(self.param_groups, model)
        self.held.add(parameters_of(self.param_groups), names)
        if not self.held:
            raise ValueError(
                "no parameter of the optimizer lives on cells; there are "
                + ", ".join(f"{n!r} {list(p.shape)}" for p, n in self.names.items())
            )
        if decomposition is not None:
            self._decomposed = gradients.Decomposed(decomposition, model, ranks)

    # ── parameters ───────────────────────────────────────────────────────────────────────────

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the given optimizer, and its weights to the cells.

        Raises:
            TypeError, ValueError: if it is refused; then nothing has changed.
        """
        super().add_param_group(param_group)
        if "inner" not in self.__dict__:  # torch's own constructor reads the groups
            return
        try:
            if self._ranks == "one_by_one":
                gradients.rates(self.inner)
            names = names_of(self.param_groups, self._model)
            self.held.add(self.param_groups[-1]["params"], names)
        except BaseException:
            self.inner.param_groups.pop()
            raise

    @property
    def names(self) -> dict[Tensor, str]:
        """Names of all parameters."""
        return self.held.names

    # ── the step ─────────────────────────────────────────────────────────────────────────────

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As `torch.optim.Optimizer.zero_grad`."""
        super().zero_grad(set_to_none)
        if self._decomposed is not None:
            self._decomposed.clear()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Let the optimizer propose, and the cells answer.

        Args:
            closure: evaluates the model anew and returns the loss.

        Returns:
            The loss, where there is a closure.

        Raises:
            TypeError: if the optimizer needs a closure and there is none.
            ValueError: if a learning rate is no finite number >= 0.
        """
        learning = rates.by_parameter(self.param_groups)
        lookout = vars(self).setdefault("_lookout", Lookout())
        if lookout.due:
            lookout.begin(self.held.cells().values())
        try:
            loss = self._search(closure) if self._calls_closure else self._propose(closure)
        except BaseException:
            self.held.settle()
            raise
        self.updates += 1
        held = self.held.cells().items()
        lookout.look((w, learning[p]) for p, w in held if p in learning)
        lookout.stalled(self.held.cells())
        lookout.lost(loss, self)
        self.held.refresh(self.updates)
        if self._decomposed is not None:
            self._decomposed.clear()
        return loss

    def _propose(self, closure: Callable[[], Any] | None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        bad = finite.bad_gradients(parameters_of(self.param_groups))
        self._pass_by("gradients are", bad)
        with finite.without(bad):
            factors = self._factors()
            with gradients.replaced(gradients.products(factors)):
                self.inner.step()
                self._write(factors)
        return loss

    def _search(self, closure: Callable[[], Any] | None) -> Any:
        # The optimizer evaluates digital proposals; gradients must be good in all of them.
        if closure is None:
            raise TypeError(f"{type(self.inner).__name__}.step() needs a closure")
        parameters = parameters_of(self.param_groups)
        digital = {p: p.clone() for p in parameters if p not in self.held}
        bad: dict[Tensor, Tensor] = {}

        def checked() -> Any:
            with torch.enable_grad():
                loss = closure()
            bad.update(finite.bad_gradients(parameters))
            if bad:
                raise _NotFiniteError
            for parameter, product in gradients.products(self._factors()).items():
                parameter.grad = product
            return loss

        try:
            loss = self.inner.step(checked)
        except BaseException as error:
            for parameter, value in digital.items():
                parameter.copy_(value)
            self.held.settle()
            if not isinstance(error, _NotFiniteError):
                raise
            self._pass_by("gradients are", bad)
            return None
        self._write({})
        return loss

    def _pass_by(self, what: str, bad: Mapping[Tensor, Tensor]) -> None:
        if not bad:
            return
        for parameter in bad:
            name = self.names[parameter]
            self.skipped[name] = self.skipped.get(name, 0) + 1
        shown = {repr(self.names[p]): value for p, value in bad.items()}
        finite.warn(f"in-situ step: {what}", shown)

    def _factors(self) -> dict[Tensor, Factors]:
        if self._decomposed is None:
            return {}
        return {
            p: self._decomposed.factors(p, number)
            for number, p in enumerate(self.names)
            if p in self.held and p.dim() >= 2 and p.grad is not None
        }

    def _write(self, factors: Mapping[Tensor, Factors]) -> None:
        bad = []
        each = gradients.rates(self.inner) if self._ranks == "one_by_one" else {}
        for parameter, held in self.held.items():
            if parameter.grad is None:
                continue
            memory = self._scratch.of(parameter.numel(), held.weights.cells.g)
            change, spare = memory[0].view(parameter.shape), memory[1:]
            torch.sub(parameter, held.now, out=change)
            if not finite.is_finite(change):
                bad.append(parameter)
                continue
            self._lookout.ask(held.weights, change)
            self._lookout.follow(parameter, held.weights, change, 1.0)
            if parameter in each and parameter in factors:
                for term in factors[parameter].split():
                    held.realise(term.product().mul_(-each[parameter]), spare)
            else:
                held.realise(change, spare)
            parameter.copy_(held.now)
        self._pass_by("proposals are", {p: p.detach() for p in bad})
        self.held.settle(bad)

    # ── what users ask for ───────────────────────────────────────────────────────────────────

    def refresh(self) -> int:
        """Erase saturated pairs and write their differences anew, now; return how many."""
        return self.held.refresh()

    def write(self) -> None:
        """Put the cells at what the parameters hold now, exactly: after weights were loaded.

        Raises:
            ValueError: if a weight is not finite; nothing is then changed.
        """
        self.held.write()

    @property
    def watching(self) -> Capture | None:
        """What hooks of the optimizer's own record of the model; None without any."""
        return None if self._decomposed is None else self._decomposed.capture

    def parameters_on_cells(self) -> Mapping[Tensor, str]:
        """Return the names of the parameters on cells."""
        return {parameter: self.names[parameter] for parameter in self.held}

    def cells_of(self, parameter: Tensor) -> WeightCells | None:
        """Return the cells that hold a parameter; None for one that is digital."""
        held = self.held.get(parameter)
        return None if held is None else held.weights

    def show(self, parameter: Tensor) -> None:
        """Set a parameter to what its cells hold."""
        self.held[parameter].settle(parameter)

    def weights(self, parameter: Tensor | str) -> WeightCells:
        """Return the cells of a parameter, given itself or its name (KeyError if on none)."""
        return self.held.weights(parameter)

    def writes(self, parameter: Tensor | str) -> Tensor:
        """Return the pulses each cell of a parameter has received, ``[cells, out, in]``."""
        return self.weights(parameter).writes

    def summary(self) -> str:
        """Return a table of all parameters: where they live, and what was written."""
        return table(self.names, self.held.cells())

    def __repr__(self) -> str:
        """Say what is optimized how, and where it lives."""
        return f"InSitu({type(self.inner).__name__})\n{self.summary()}"

    # ── save and load ────────────────────────────────────────────────────────────────────────

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state and all of the cells', so that training resumes exactly."""
        mine: dict[str, Any] = {
            "is": self._identity(),
            "optimizer": states.kind(self.inner),
            "cells": checkpoint.cells_of(self.held, self.names),
            "updates": self.updates,
        }
        if self._decomposed is not None:
            mine["decomposition"] = self._decomposed.decomposition.state_dict()
        return {**self.inner.state_dict(), "in_situ": mine}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, and set the parameters to what the cells hold.

        Raises:
            TypeError, ValueError, RuntimeError: if it is not of this kind of optimizer, parameters,
                devices and settings; nothing is then changed.
        """
        mine = checkpoint.checked(state_dict, self._identity())
        states.refuse_other_inside(self, self.inner, mine.get("optimizer"))
        states.refuse_other(self.inner, state_dict)
        before = copy.deepcopy(self.state_dict())
        try:
            self._take(state_dict)
        except BaseException:
            self._take(before)
            raise

    def _take(self, state_dict: Mapping[str, Any]) -> None:
        mine = state_dict["in_situ"]
        self.inner.load_state_dict({k: v for k, v in state_dict.items() if k != "in_situ"})
        self._share()
        checkpoint.take_back(self.held, self.names, mine["cells"])
        self.held.settle()
        self.updates = int(mine["updates"])
        if self._decomposed is not None:
            self._decomposed.decomposition.load_state_dict(mine["decomposition"])

    def _identity(self) -> dict[str, Any]:
        decomposition = self._decomposed and repr(self._decomposed.decomposition)
        return {
            **checkpoint.identity(self.held, self.names),
            "rule": self.rule.to_dict(),
            "ranks": self._ranks,
            "decomposition": decomposition,
        }

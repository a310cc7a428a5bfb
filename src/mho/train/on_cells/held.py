"""All parameters of an optimizer that live on cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from mho.core import checks, random
from mho.train.on_cells.choice import Predicate, per_parameter
from mho.train.on_cells.parameter import HeldParameter, warn_clipped
from mho.train.on_cells.weights import WeightCells


class HeldParameters(Mapping[Tensor, HeldParameter]):
    """The parameters on cells, and what holds them, in the order of the optimizer.

    Args:
        given: ``device``, ``weight_range`` and ``layout``: one for all, or a mapping from
            parameters or name patterns.
        shared: keyword arguments of every `HeldParameter`.
        on_cells: ``(name, parameter) -> bool``, which parameters live on cells.
        program: whether the first weights come to the cells by pulses and reads.
        seed: of everything random; each parameter's own follows from its name.

    Attributes:
        names: of all parameters, also those that stay digital.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        shared: Mapping[str, Any],
        on_cells: Predicate,
        program: bool,
        seed: int,
    ) -> None:
        self._given, self._shared, self._on_cells = given, shared, on_cells
        self._program, self._seed = program, seed
        self._held: dict[Tensor, HeldParameter] = {}
        self.names: dict[Tensor, str] = {}

    def __getitem__(self, parameter: Tensor) -> HeldParameter:
        """Return what holds a parameter."""
        return self._held[parameter]

    def __iter__(self) -> Iterator[Tensor]:
        """Go through the parameters on cells."""
        return iter(self._held)

    def __len__(self) -> int:
        """Return how many parameters live on cells."""
        return len(self._held)

    def add(self, parameters: Iterable[Tensor], names: dict[Tensor, str]) -> None:
        """Take parameters, those that live on cells, and put these at their values.

        Args:
            parameters: new ones.
            names: of all parameters, old and new.
        """
        new = {
            p: names[p]
            for p in parameters
            if p.is_floating_point() and p.numel() and self._on_cells(names[p], p)
        }
        # A key of a mapping may be of earlier parameters alone.
        known = {**{p: names[p] for p in self._held}, **new}
        given = {what: per_parameter(what, value, known) for what, value in self._given.items()}
        before = {p: p.detach().clone() for p in new}
        try:
            held, clipped = self._filled(new, given)
        except BaseException:
            for parameter, value in before.items():
                parameter.data.copy_(value)
            raise
        self.names = names
        self._held.update(held)
        warn_clipped(clipped, sum(p.numel() for p in new))

    def _filled(
        self, new: dict[Tensor, str], given: dict[str, dict[Tensor, Any]]
    ) -> tuple[dict[Tensor, HeldParameter], dict[str, int]]:
        """Return what holds parameters, at their values, and how many of these were clipped."""
        found, clipped = {}, {}
        for parameter, name in new.items():
            if given["device"][parameter] is None:
                continue
            held = HeldParameter(
                parameter,
                **{what: value[parameter] for what, value in given.items()},
                **self._shared,
                seed=random.derive(self._seed, "cells", name),
            )
            clipped[name] = held.fill(parameter, self._program)
            found[parameter] = held
        return found, clipped

    def settle(self, parameters: Iterable[Tensor] | None = None) -> None:
        """Set parameters (all if not given) to exactly what their cells hold."""
        for parameter in self if parameters is None else parameters:
            self[parameter].settle(parameter)

    def refresh(self, updates: int | None = None) -> int:
        """Write saturated pairs anew, all or those that are due; return how many.

        Args:
            updates: of the optimizer so far; None: whatever is saturated.
        """
        count = 0
        for parameter, held in self.items():
            if updates is None or held.weights.layout.refresh_due(updates):
                refreshed = held.weights.refresh()
                count += refreshed
                if refreshed:
                    held.settle(parameter)
        return count

    def write(self) -> None:
        """Put the cells at what the parameters hold now, exactly.

        Raises:
            ValueError: if a weight is not finite; nothing is then changed.
        """
        for parameter in self:
            checks.finite(self.names[parameter], parameter)
        clipped = {self.names[p]: held.fill(p, False) for p, held in self.items()}
        warn_clipped(clipped, sum(p.numel() for p in self))

    def cells(self) -> dict[Tensor, WeightCells]:
        """Return the cells by parameter."""
        return {parameter: held.weights for parameter, held in self.items()}

    def weights(self, parameter: Tensor | str) -> WeightCells:
        """Return the cells of a parameter, given itself or its name (KeyError if on none)."""
        for known, held in self.items():
            if parameter is known or (
                isinstance(parameter, str) and parameter == self.names[known]
            ):
                return held.weights
        known_names = ", ".join(repr(self.names[p]) for p in self)
        raise KeyError(f"no such parameter on cells; there are {known_names}")

"""Voltage-driven cells: an inner state ``x`` that a voltage moves, and the current it lets pass.

    dx/dt = rate(x, drive(v))        I = current_at(x, v)

``x`` is in [0, 1] and is 1 at low resistance in every model. A model writes its equations once,
with the functions of ``mho.devices.maths``, and they serve whole populations and single cells.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.device import Device
from mho.cells.population import Cells
from mho.cells.programming import Exact, Programming
from mho.cells.spread import LARGEST_CONDUCTANCE, Spread, nominal
from mho.core import derivatives
from mho.core.constants import as_tensor
from mho.core.spec import derived
from mho.devices.parameters import Parameters
from mho.devices.switching_cells import SwitchingCells


class SwitchingDevice(Device):
    """Base of voltage-driven models. Subclasses are frozen dataclasses.

    A model says its equations in the methods that take ``p``: the parameters, by name, each a
    number or one value per cell. States and voltages are floats or tensors.

    Class attributes:
        signed: parameters whose spread may cross zero; all others keep their sign in every cell.
        implicit: whether the current is found by solving for a voltage inside of the cell; the
            equation is then what `settled` says.
    """

    ordered: ClassVar[tuple[tuple[str, str], ...]] = (("r_on", "r_off"),)
    signed: ClassVar[tuple[str, ...]] = ()
    implicit: ClassVar[bool] = False

    # ---- the model's equations ---------------------------------------------------------------

    def drive(self, v: Any, p: Any) -> tuple[Any, ...]:
        """Return what the state equation needs of the voltage (V) alone."""
        return (v,)

    def rate(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return dx/dt (1/s) at states ``x`` under ``drive(v)``."""
        raise NotImplementedError

    def conductance_at(self, x: Any, p: Any) -> Any:
        """Return the low-voltage conductance (S) at states ``x``."""
        raise NotImplementedError

    def state_at(self, g: Any, p: Any) -> Any:
        """Return the state that has the low-voltage conductance ``g`` (S)."""
        raise NotImplementedError

    def transfer_at(self, v: Any, p: Any) -> Any:
        """Return ``f(v)`` (V) of ``I = g · f(v)``, with ``f'(0) = 1``."""
        return v

    def current_at(self, x: Any, v: Any, p: Any) -> Any:
        """Return the current (A) at states ``x`` under voltages ``v`` (V)."""
        return self.conductance_at(x, p) * self.transfer_at(v, p)

    def settled(self, x: Any, v: Any, u: Any, p: Any) -> tuple[Any, Any, Any]:
        """Return what an inner voltage of ``u`` (V) means, for models that are ``implicit``.

        Returns:
            The inner voltage that follows from it (V), which is ``u`` itself at the solution, the
            current (A), and dx/dt (1/s).
        """
        raise NotImplementedError

    def pulse(self, x: Tensor, v: Tensor, duration: Tensor, p: Any) -> Tensor | None:
        """Return the states after a constant voltage, in closed form; None where there is none.

        Args:
            x: states before.
            v: voltages (V), of the shape of ``x``.
            duration: times (s), of the shape of ``x``.
            p: parameters.
        """
        return None

    def diffusion(self, x: Any, drive: tuple[Any, ...], p: Any) -> Any:
        """Return the noise intensity (1/√s) of the state, for stochastic models."""
        return 0.0 * x

    @property
    def set_polarity(self) -> int:
        """+1 if a positive voltage sets the cell (raises g), -1 if a negative one does."""
        return 1

    @property
    def stochastic(self) -> bool:
        """Whether the state equation has a random term."""
        return False

    @property
    def state_free(self) -> bool:
        """Whether the rate depends on the voltage alone (its integral is then a sum)."""
        return False

    # ---- what follows from them --------------------------------------------------------------

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw every spread parameter per cell; see `Device.fabricate_state`.

        Raises:
            ValueError: if ordered parameters keep crossing, or some draws change their sign.
        """
        drawn = super().fabricate_state(context)
        for name, spread in self.spreads().items():
            wrong = int((drawn[name] * math.copysign(1.0, spread.nominal) <= 0.0).sum())
            if wrong and spread.nominal != 0.0 and name not in self.signed:
                raise ValueError(
                    f"{name} must keep its sign in every cell, but {wrong} of "
                    f"{drawn[name].numel()} draws of {spread} do not: bound it with low or high"
                )
        return drawn

    def parameters(self, drawn: dict[str, Tensor] | None = None) -> Any:
        """Return all parameters by name: per-cell tensors where drawn, else nominal numbers."""
        values: dict[str, Any] = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
        }
        for name, value in values.items():
            if isinstance(value, (int, float, Spread)):
                values[name] = nominal(value)
        return Parameters({**values, **(drawn or {})})

    @property
    def g_min(self) -> float:  # type: ignore[override]
        """Nominal conductance (S) at x = 0."""
        return self._ends[0]

    @property
    def g_max(self) -> float:  # type: ignore[override]
        """Nominal conductance (S) at x = 1."""
        return self._ends[1]

    @derived
    def _ends(self) -> tuple[float, float]:
        p = self.parameters()
        try:
            low, high = (float(self.conductance_at(x, p)) for x in (0.0, 1.0))
        except (ArithmeticError, ValueError) as error:  # a division by 0, a logarithm of 0
            raise ValueError(f"no conductance follows from {self}: {error}") from error
        if not 0.0 <= low < high <= LARGEST_CONDUCTANCE:
            raise ValueError(
                f"conductances must be 0 <= G(x = 0) < G(x = 1) <= {LARGEST_CONDUCTANCE:g} S, got "
                f"{low:g} and {high:g} S of {self}"
            )
        return low, high

    def reach(self, g: Tensor, state: dict[str, Tensor] | None = None) -> Tensor:
        """Return the nearest conductances the cells can hold; see `Device.reach`."""
        p = self.parameters(state)
        low, high = (self.conductance_at(x, p) for x in (0.0, 1.0))
        if not isinstance(low, Tensor) and not isinstance(high, Tensor):
            return derivatives.clip(g, low, high)
        return derivatives.clip(g, as_tensor(low, g), as_tensor(high, g))

    @property
    def programming(self) -> Programming:
        """How cells are programmed where the hardware does not say: exactly.

        A write–verify loop takes such cells anywhere in their window.
        """
        return Exact()

    def transfer(self, v: Tensor) -> Tensor:
        """Return ``f(v)`` (V) of ``I = g · f(v)`` with nominal parameters.

        Raises:
            NotImplementedError: if the model's current does not separate so.
        """
        if not self.separable:
            raise NotImplementedError(f"the current of {type(self).__name__} is not g · f(v)")
        value: Tensor = self.transfer_at(v, self.parameters())
        return value

    def current_of(self, v: Tensor, g: Tensor) -> Tensor:
        """Return the current (A) of nominal cells; see `Device.current_of`."""
        p = self.parameters()
        current: Tensor = self.current_at(self.state_at(g, p), v, p)
        return current

    @property
    def ohmic(self) -> bool:
        """Whether the current is proportional to the voltage."""
        return self.separable and type(self).transfer_at is SwitchingDevice.transfer_at

    @property
    def cells_type(self) -> type[Cells]:
        """The class of this device's populations."""
        return SwitchingCells

"""Window functions: how a cell's state slows down near its bounds.

A window is a spec that is called as ``window(x, i)`` with the state ``x`` in [0, 1] (1 is low
resistance) and a number ``i`` whose sign says where the state is heading (positive: towards 1,
as a positive current does in the linear-drift model). Both may be floats or tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mho.core import checks
from mho.core.spec import Spec
from mho.devices import maths


class Window(Spec):
    """Base of all windows.

    Class attributes:
        hard: whether the window is 1 everywhere but at the bound ahead. Solvers hold the state
            inside [0, 1] anyway, so models skip hard windows.
    """

    hard: ClassVar[bool] = False

    def __call__(self, x: Any, i: Any) -> Any:
        """Return the factor on ``dx/dt``.

        Args:
            x: state, in [0, 1].
            i: anything with the sign of the state's movement.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Rectangular(Window):
    """1 inside, 0 at the bound the state is heading for: motion stops there, and only there."""

    hard: ClassVar[bool] = True

    def __call__(self, x: Any, i: Any) -> Any:
        """Return 0 at the bound ahead, else 1."""
        stopped = ((x >= 1.0) & (i > 0.0)) | ((x <= 0.0) & (i < 0.0))
        return maths.where(stopped, 0.0 * x, 0.0 * x + 1.0)


@dataclass(frozen=True)
class Joglekar(Window):
    """``f = 1 - (2x - 1)^(2p)``: 1 in the middle, 0 at both bounds.

    A cell that has reached a bound stays there for ever, whatever the polarity (the model's own
    well-known "terminal state" problem).

    Source: Joglekar & Wolf 2009, doi 10.1088/0143-0807/30/4/001.

    Attributes:
        p: steepness, > 0; the larger, the flatter inside.
    """

    p: float = 1.0

    def __post_init__(self) -> None:
        checks.number("p", self.p, above=0.0)

    def __call__(self, x: Any, i: Any) -> Any:
        """Return the factor; it does not depend on the direction ``i``."""
        return 1.0 - ((2.0 * x - 1.0) ** 2) ** self.p


@dataclass(frozen=True)
class Biolek(Window):
    """``f = 1 - (x - step(-i))^(2p)``: 0 at the bound ahead, 1 at the bound left behind.

    Source: Biolek, Biolek & Biolková 2009, Radioengineering 18(2), 210–214.

    Attributes:
        p: steepness, > 0.
    """

    p: float = 1.0

    def __post_init__(self) -> None:
        checks.number("p", self.p, above=0.0)

    def __call__(self, x: Any, i: Any) -> Any:
        """Return the factor; ``i`` = 0 counts as heading for 0."""
        return 1.0 - (maths.where(i > 0.0, x, 1.0 - x) ** 2) ** self.p


@dataclass(frozen=True)
class Prodromakis(Window):
    """``f = j (1 - [(x - ½)² + ¾]^p)``: 0 at both bounds, of adjustable height.

    Source: Prodromakis, Peh, Papavassiliou & Toumazou 2011, doi 10.1109/TED.2011.2158004.

    Attributes:
        p: steepness, > 0.
        j: scale, > 0.
    """

    p: float = 1.0
    j: float = 1.0

    def __post_init__(self) -> None:
        checks.number("p", self.p, above=0.0)
        checks.number("j", self.j, above=0.0)

    def __call__(self, x: Any, i: Any) -> Any:
        """Return the factor; it does not depend on the direction ``i``."""
        return self.j * (1.0 - ((x - 0.5) ** 2 + 0.75) ** self.p)


@dataclass(frozen=True)
class Kvatinsky(Window):
    """``f_off = exp(-exp((w - a_off)/w_c))``, ``f_on = exp(-exp((a_on - w)/w_c))``; ``w = 1 - x``.

    The first holds while the state falls (towards R_off, ``w`` → 1), the second while it rises.
    The three lengths are parts of the range, ``(length - w_on) / (w_off - w_on)``. The window
    never vanishes exactly: beyond ``a_off`` (below ``a_on``) it falls doubly exponentially. By
    default motion is free from 0.1 to 0.9 of the range, with the published ``w_c`` of 107 pm in
    3 nm. (The paper fits Simmons' barrier with a_off = 1.2 nm and a_on = 1.8 nm, 0.4 and 0.6 of
    3 nm: between these two nothing moves either way.)

    Source: Kvatinsky et al. 2013, doi 10.1109/TCSI.2012.2215714.

    Attributes:
        a_off: where motion towards R_off begins to stop.
        a_on: where motion towards R_on begins to stop.
        w_c: width of the transition, > 0.
    """

    a_off: float = 0.9
    a_on: float = 0.1
    w_c: float = 0.107 / 3.0

    def __post_init__(self) -> None:
        checks.number("a_off", self.a_off)
        checks.number("a_on", self.a_on)
        checks.number("w_c", self.w_c, above=0.0)

    def __call__(self, x: Any, i: Any) -> Any:
        """Return the factor; ``i`` = 0 counts as falling."""
        w = 1.0 - x
        beyond = maths.where(i > 0.0, self.a_on - w, w - self.a_off)
        # exp(-exp(4.4)) = 4e-36 stops everything; smaller float32 numbers are slow to handle.
        return maths.exp(-maths.exp(maths.clip(beyond / self.w_c, -50.0, 4.4)))

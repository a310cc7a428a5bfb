"""Binary weights: -1 and +1 on complementary pairs of two-state cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.encoding.compared import refuse_currents, sign_of
from mho.encoding.differential import Differential, pair


@dataclass(frozen=True)
class Binary(Differential):
    """``weight ≈ scale · {-1, +1}``: of every pair one cell conducts, the other does not.

    The scale is the mean magnitude; zeros count as positive. The gradient is straight through.

    With ``compared`` a sense amplifier compares the two cells of each pair, and its bit is
    multiplied and added in digital logic (2T2R cells with XNOR and population count): no current
    flows together, and errors of cells matter only where they turn a pair round.

    Attributes:
        scaling: only its ``per_column`` counts; the percentile must be 100.
        subtract: as for `Differential`; ``"analog"`` where pairs are compared.
        compared: see above; hardware with an ADC, an amplifier, wires or read noise is refused.

    Raises:
        ValueError: if a value is refused.

    Sources: M. Rastegari et al., 2016, doi 10.1007/978-3-319-46493-0_32 (the scale);
    M. Bocquet et al., IEDM 2018, doi 10.1109/IEDM.2018.8614639 (compared pairs).
    """

    compared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_two_states(self, self.compared)

    @property
    def states(self) -> int:
        """Two: a cell is at one end of the window or at the other."""
        return 2

    def refuse(self, hardware: Any) -> None:
        """See `Encoding.refuse`."""
        if self.compared:
            refuse_currents("Binary", hardware)

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`."""
        dim = 0 if self.scaling.per_column else None
        level = weight.detach().abs().mean(dim).clamp_min(2.0**-50)
        sign = torch.where(weight.detach() < 0, -1.0, 1.0).to(weight.dtype)
        scale = level if self.compared else level / (g_max - g_min)
        return self.straight_through(pair(sign * (g_max - g_min), g_min), weight, scale), scale

    def converted(self, g: Tensor) -> Tensor:
        """See `Encoding.converted`: bits, where pairs are compared."""
        return sign_of(g) if self.compared else super().converted(g)


def check_two_states(encoding: Differential, compared: bool) -> None:
    """Refuse a percentile, which has no meaning for two states, and two results of one bit.

    Raises:
        ValueError: if the encoding has one.
    """
    name = type(encoding).__name__
    if encoding.scaling.percentile != 100.0:
        raise ValueError(f"{name} finds its own scale: scaling.percentile must be 100")
    if compared and encoding.subtract != "analog":
        raise ValueError(
            f"{name} with compared=True has one result a pair: subtract must be 'analog'"
        )

"""Transfer rules: how what a fast array has gathered is read, and written to a slow one.

Each rule is a spec; its digital state (a hidden matrix, signs, averages) is a dict of tensors that
`mho.train.on_cells.tiki_taka.TransferArrays` keeps. Rates that are not given follow from the
cells and from what they are asked to do: `mho.train.on_cells.transfer_rates` has the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.core import checks
from mho.core.spec import Spec
from mho.train.on_cells.coincidence import round_at_random
from mho.train.on_cells.transfer_rates import TURN, chop

_REFERENCES = ("symmetry", "middle")


def check_transfer(rule: Any) -> None:
    """Check the fields that all rules with transfers share (TypeError, ValueError)."""
    checks.integer("transfer_every", rule.transfer_every)
    for name in ("transfer_lr", "fast_lr"):
        rate, usual = getattr(rule, name), getattr(type(rule), name)
        if rate is not None or usual is not None:  # None where the rule finds it by itself
            checks.number(name, rate, least=0.0)
    checks.one_of("reference", rule.reference, _REFERENCES)
    checks.number("reference_error", rule.reference_error, least=0.0)
    if rule.reference_error and rule.reference != "symmetry":
        raise ValueError("reference_error is of reference='symmetry' only")


@dataclass(frozen=True)
class TransferRule(Spec):
    """What all transfer rules share; a subclass says how A's columns are read and written to C.

    Attributes:
        transfer_every: optimizer steps between two transfers, >= 1.
        columns: columns of A read in one transfer, one after another round the array; all of them
            if None.
        transfer_lr: how much of what is read of A is written to C, >= 0; multiplied by the
            optimizer's ``lr`` where ``fast_lr`` is given (so that it always counts once). None:
            as much as A forgets, so that C moves as under SGD of the optimizer's ``lr``.
        fast_lr: learning rate of A, >= 0. None: the optimizer's ``lr`` where ``transfer_lr`` is
            given or A counts as weight; else such that A forgets as fast as its columns are read.
        reference: what A's zero is: each cell's ``"symmetry"`` point (zero shifting) or the
            ``"middle"`` of the nominal window.
        reference_error: standard deviation of A's zero about the symmetry point, from cell to
            cell (weight units), >= 0.

    Class attributes:
        needs_forgetting: whether C settles only if A's cells forget.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    said: ClassVar[tuple[str, ...]] = ("transfer_every", "transfer_lr", "reference")
    needs_forgetting: ClassVar[bool] = True

    transfer_every: int = 1
    columns: int | None = None
    transfer_lr: float | None = None
    fast_lr: float | None = None
    reference: str = "symmetry"
    reference_error: float = 0.0

    def __post_init__(self) -> None:
        if self.columns is not None:
            checks.integer("columns", self.columns)
        check_transfer(self)

    @property
    def derives(self) -> bool:
        """Whether a rate in force follows from the cells and what they are asked to do."""
        return self.transfer_lr is None

    @property
    def share(self) -> float:
        """The part of A that counts as weight, γ in ``W = γ·A + C``."""
        return 0.0

    def handed(self, forgotten: float) -> float:
        """Return how much of a reading belongs to C, at equal rates of A and C.

        Args:
            forgotten: share of what A holds that it forgets between two readings, λ·R.
        """
        return forgotten

    def turning(self, forgotten: float) -> float:
        """Return the chance that a sign turns after a reading; see `handed`."""
        return 0.0

    def memory(self, shape: tuple[int, int]) -> dict[str, Tensor]:
        """Return the digital state this rule keeps beside the arrays, as it begins."""
        return {}

    def signs(self, memory: dict[str, Tensor]) -> Tensor | None:
        """Return the signs ``[in]`` that inputs take before they pulse A, if any."""
        return None

    def readout(
        self, a: Tensor, columns: Tensor, memory: dict[str, Tensor], source: torch.Generator
    ) -> Tensor:
        """Return what A's columns say of the weights.

        Args:
            a: weights read of A ``[out, columns]``.
            columns: which columns these are.
            memory: digital state, changed in place.
            source: of randomness.
        """
        return a

    def pulses(
        self,
        change: Tensor,
        columns: Tensor,
        memory: dict[str, Tensor],
        step: float,
        source: torch.Generator,
    ) -> Tensor:
        """Return the signed pulses that C receives.

        Args:
            change: wanted of C ``[out, columns]``.
            columns: which columns these are.
            memory: digital state, changed in place.
            step: nominal step of C, Δw_min.
            source: of randomness.
        """
        raise NotImplementedError(f"{type(self).__name__} must define pulses(change, …)")


@dataclass(frozen=True)
class TikiTakaV1(TransferRule):
    """Tiki-Taka: ``W = γ·A + C``, columns of A written to C as they are read.

    A gathers ``−lr·δ xᵀ``; a transfer moves column j of C by ``transfer_lr·A_j`` (in whole pulses,
    rounded at random). A must be zero at its cells' symmetry points (``reference``).

    Source: T. Gokmen, W. Haensch, "Algorithm for training neural networks on resistive device
    arrays", Frontiers in Neuroscience 2020, doi 10.3389/fnins.2020.00103.

    Attributes:
        gamma: γ, >= 0; with 0 the network reads C alone.
    """

    said: ClassVar[tuple[str, ...]] = (*TransferRule.said, "gamma")

    gamma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("gamma", self.gamma, least=0.0)

    @property
    def share(self) -> float:
        """The part of A that counts as weight."""
        return self.gamma

    def pulses(
        self,
        change: Tensor,
        columns: Tensor,
        memory: dict[str, Tensor],
        step: float,
        source: torch.Generator,
    ) -> Tensor:
        """Return the signed pulses that C receives; see `TransferRule.pulses`."""
        return round_at_random(change / step, source)


@dataclass(frozen=True)
class TikiTakaV2(TransferRule):
    """Tiki-Taka v2: a digital matrix H stands between A and C, a low-pass filter.

    A transfer adds ``transfer_lr·A_j`` to column j of H; an entry that has passed the threshold is
    written to C, one pulse for each threshold in it, and keeps the remainder. So the noise of A
    averages out before it costs pulses of C.

    Source: T. Gokmen, "Enabling training of neural networks on noisy hardware", Frontiers in
    Artificial Intelligence 2021, doi 10.3389/frai.2021.699148.

    Attributes:
        threshold: of H (weight units), > 0; one nominal step of C if None, so that C moves, in the
            mean, by just what was added to H.
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None:
            checks.number("threshold", self.threshold, above=0.0)

    def memory(self, shape: tuple[int, int]) -> dict[str, Tensor]:
        """Return H, all 0."""
        return {"hidden": torch.zeros(shape)}

    def pulses(
        self,
        change: Tensor,
        columns: Tensor,
        memory: dict[str, Tensor],
        step: float,
        source: torch.Generator,
    ) -> Tensor:
        """Return the signed pulses that C receives; see `TransferRule.pulses`."""
        threshold = step if self.threshold is None else self.threshold
        hidden = memory["hidden"]
        total = hidden[:, columns] + change
        whole = (total / threshold).trunc()
        hidden[:, columns] = total - whole * threshold
        return whole.to(torch.int32)


@dataclass(frozen=True)
class Chopped(TikiTakaV2):
    """Chopped Tiki-Taka v2 (c-TTv2): input lines change sign at random, and what is read with them.

    Every column of A has a sign; inputs are multiplied by it before they pulse A, readings are
    multiplied by it again. After a column was read its sign turns with ``chop_probability``. What
    does not turn with it, an error of the reference above all, then averages out.

    Source: M. J. Rasch, F. Carta, O. Fagbohungbe, T. Gokmen, "Fast and robust analog in-memory
    deep neural network training", Nature Communications 2024, doi 10.1038/s41467-024-51221-z
    (arXiv:2303.04721).

    Attributes:
        chop_probability: that a column's sign turns after it was read, 0…1. None: so seldom that A
            has forgotten one sign before the next (four of its memories between two turns), and
            every tenth reading at most.
    """

    said: ClassVar[tuple[str, ...]] = (*TransferRule.said, "chop_probability")

    chop_probability: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chop_probability is not None:
            checks.probability("chop_probability", self.chop_probability)

    @property
    def derives(self) -> bool:
        """See `TransferRule.derives`."""
        return super().derives or self.chop_probability is None

    def turning(self, forgotten: float) -> float:
        """Return the chance that a sign turns after a reading; see `TransferRule.handed`."""
        return chop(forgotten) if self.chop_probability is None else self.chop_probability

    def handed(self, forgotten: float) -> float:
        """Return how much of a reading belongs to C; see `TransferRule.handed`."""
        return forgotten + 2.0 * self.turning(forgotten)

    def memory(self, shape: tuple[int, int]) -> dict[str, Tensor]:
        """Return H and the signs, all +1."""
        own = {**super().memory(shape), "sign": torch.ones(shape[1])}
        if self.chop_probability is None:
            own["turning"] = torch.tensor(TURN)
        return own

    def signs(self, memory: dict[str, Tensor]) -> Tensor | None:
        """Return the columns' signs."""
        return memory["sign"]

    def readout(
        self, a: Tensor, columns: Tensor, memory: dict[str, Tensor], source: torch.Generator
    ) -> Tensor:
        """Return the readings with their columns' signs, and turn some of the signs."""
        read = a * memory["sign"][columns]
        self._turn(columns, memory, source)
        return read

    def _turn(self, columns: Tensor, memory: dict[str, Tensor], source: torch.Generator) -> Tensor:
        draw = torch.rand(columns.shape, generator=source, device=columns.device)
        turning: Tensor | float = (
            memory["turning"] if self.chop_probability is None else self.chop_probability
        )
        turned = draw < turning
        memory["sign"][columns[turned]] *= -1.0
        return turned


@dataclass(frozen=True)
class AGAD(Chopped):
    """Analog gradient accumulation with dynamic reference: chopped, and A's zero found on the way.

    A leaky average ``p ← (1 − averaging)·p + averaging·A_j`` of each entry's readings is kept
    digitally; when a column's sign turns it becomes the zero against which the column is read
    from then on. So A needs no reference, exact or otherwise.

    Source: as of `Chopped`.

    Attributes:
        chop_probability: as of `Chopped`; 0.1 if None, since A need not forget anything here.
        averaging: weight of the newest reading in the average, in (0, 1].
    """

    said: ClassVar[tuple[str, ...]] = (*Chopped.said, "averaging")
    needs_forgetting: ClassVar[bool] = False

    reference: str = "middle"
    averaging: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("averaging", self.averaging, above=0.0, most=1.0)

    def turning(self, forgotten: float) -> float:
        """Return the chance that a sign turns after a reading; see `TransferRule.handed`."""
        return TURN if self.chop_probability is None else self.chop_probability

    def handed(self, forgotten: float) -> float:
        """Return how much of a reading belongs to C; see `TransferRule.handed`."""
        return (forgotten + 2.0 * self.turning(forgotten)) / 2.0

    def memory(self, shape: tuple[int, int]) -> dict[str, Tensor]:
        """Return H, the signs, the averages and the zeros."""
        return {
            **super().memory(shape),
            "average": torch.zeros(shape),
            "zero": torch.zeros(shape),
        }

    def readout(
        self, a: Tensor, columns: Tensor, memory: dict[str, Tensor], source: torch.Generator
    ) -> Tensor:
        """Return the readings above their zeros, with signs; see `Chopped.readout`."""
        average, zero = memory["average"], memory["zero"]
        read = (a - zero[:, columns]) * memory["sign"][columns]
        average[:, columns] = torch.lerp(average[:, columns], a, self.averaging)
        renewed = columns[self._turn(columns, memory, source)]
        zero[:, renewed] = average[:, renewed]
        return read

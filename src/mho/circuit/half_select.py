"""Half-selection: what lines and cells of passive arrays see while some cells are selected.

Without a transistor per cell every cell is always between two lines. What the lines of the other
cells do is the *scheme* (A. Chen, IEEE Trans. Electron Devices 60, 1318 (2013),
doi 10.1109/TED.2013.2246791):

    scheme      selected row, col    other rows   other cols    half-selected cells    others
    grounded    V, 0                 0            0             V (row), 0 (col)       0
    V/2         V, 0                 V/2          V/2           V/2                    0
    V/3         V, 0                 V/3          2V/3          V/3                    -V/3
    floating    V, 0                 –            –             where currents balance

All half-select voltages of the package come from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from mho.core.checks import instance, number, one_of, plain

SCHEMES = ("grounded", "V/2", "V/3", "floating")
# Parts of V on the other word lines and bit lines; a floating line is guessed half way.
_OTHERS = {
    "grounded": (Fraction(0), Fraction(0)),
    "V/2": (Fraction(1, 2), Fraction(1, 2)),
    "V/3": (Fraction(1, 3), Fraction(2, 3)),
    "floating": (Fraction(1, 2), Fraction(1, 2)),
}

Selection: TypeAlias = "int | Tensor"


@dataclass(frozen=True, eq=False)
class Bias:
    """Voltages of all lines, for one or several selections.

    Args:
        word: of the word lines ``[m]`` or ``[vectors, m]`` [V]; of floating ones, a first guess.
        bit: of the bit lines, likewise ``[..., n]`` [V].
        selected_rows: bool ``[..., m]``.
        selected_cols: bool ``[..., n]``.
        floating: whether lines that are not selected float.
    """

    word: Tensor
    bit: Tensor
    selected_rows: Tensor
    selected_cols: Tensor
    floating: bool = False

    @property
    def ideal_voltages(self) -> Tensor:
        """Cell voltages ``[..., m, n]`` with ideal wires and no floating line: word minus bit."""
        if self.floating:
            raise ValueError("voltages of floating lines depend on the cells: use solve_bias")
        return self.word[..., :, None] - self.bit[..., None, :]


def bias(
    scheme: str, shape: tuple[int, int], row: Selection, col: Selection, voltage: float
) -> Bias:
    """Return the line voltages of a read or a write of selected cells.

    Args:
        scheme: ``"grounded"``, ``"V/2"``, ``"V/3"`` or ``"floating"``.
        shape: of the array ``(m, n)``.
        row: one row; or one a selection, integers ``[vectors]``; or bool ``[m]``,
            ``[vectors, m]``, for several rows at once.
        col: likewise of columns.
        voltage: over the selected cells, on the word line [V].

    Returns:
        The bias; many selections are vectors.

    Raises:
        ValueError: for an unknown scheme, or rows or columns that the array does not have.
        TypeError: for another kind of selection.
    """
    one_of("scheme", scheme, SCHEMES)
    number("voltage", voltage)
    m, n = shape
    rows, cols = _selected("row", row, m), _selected("col", col, n)
    try:
        lead = torch.broadcast_shapes(rows.shape[:-1], cols.shape[:-1])
    except RuntimeError:
        raise ValueError(
            f"row and col must select as many, got {list(rows.shape)} and {list(cols.shape)}"
        ) from None
    rows, cols = rows.expand(*lead, m), cols.expand(*lead, n)
    top = torch.full((*lead, 1), voltage, dtype=torch.float64, device=rows.device)
    return _lines(rows, cols, top, top, scheme)


def bias_of(volts: Tensor, scheme: str) -> Bias:
    """Return the line voltages that put voltages on cells of one row.

    As of `bias`, for amplitudes that differ: the word line is driven with the largest voltage
    wanted, the bit line of a selected cell with what leaves this cell its own.

    Args:
        volts: wanted on the selected cells ``[..., m, n]`` [V], 0 on all others; of one sign, and
            in each array all in one row.
        scheme: ``"V/2"`` or ``"V/3"``.

    Returns:
        The bias of all arrays ``[..., m]``, ``[..., n]``.
    """
    on, wanted = volts != 0.0, volts.sum(-2)
    sign = torch.sign(wanted.sum(-1, keepdim=True))
    top = volts.abs().amax((-2, -1)).unsqueeze(-1) * sign
    return _lines(on.any(-1), on.any(-2), top, wanted, scheme)


def _lines(rows: Tensor, cols: Tensor, top: Tensor, wanted: Tensor, scheme: str) -> Bias:
    # ``top`` [..., 1] on the selected word lines, ``wanted`` [..., n] over the selected cells.
    on_word, on_bit = map(float, _OTHERS[scheme])
    word = torch.where(rows, top, top * on_word)
    bit = torch.where(cols, top - wanted, top * on_bit)
    return Bias(word, bit, rows, cols, scheme == "floating")


class Parts(NamedTuple):
    """Parts of a selected cell's voltage that the others see.

    Attributes:
        row: cells of its row.
        col: cells of its column.
        others: all others.
    """

    row: float
    col: float
    others: float


def parts(scheme: str) -> Parts:
    """Return the parts of a pulse that cells see which are not selected (not of floating lines)."""
    one_of("scheme", scheme, SCHEMES[:3])
    on_word, on_bit = _OTHERS[scheme]
    return Parts(float(1 - on_bit), float(on_word), float(on_word - on_bit))


def as_arrays(x: Tensor) -> Tensor:
    """View a population's tensor as ``[arrays, rows, cols]``; a vector is one row."""
    if x.dim() < 2:
        return x.reshape(1, 1, -1)
    return x.reshape(-1, *x.shape[-2:])


def seen(volts: Tensor, scheme: str) -> Tensor:
    """Return what every cell of passive arrays with ideal wires sees (V).

    Selected cells see exactly what they are to see.

    Args:
        volts: of a population's shape, as of `bias_of`.
        scheme: ``"V/2"`` or ``"V/3"``.
    """
    arrays = as_arrays(volts)
    cells = torch.where(arrays != 0.0, arrays, bias_of(arrays, scheme).ideal_voltages)
    return cells.reshape(volts.shape)


def tallies(chosen: Tensor, scheme: str) -> list[tuple[float, Tensor]]:
    """Return what all cells see of equal pulses that the chosen cells get one by one.

    Args:
        chosen: of a population's shape.
        scheme: ``"V/2"`` or ``"V/3"``.

    Returns:
        Parts of the pulse's voltage, and how often each cell sees them.
    """
    arrays = as_arrays(chosen).long()
    row = arrays.sum(2, keepdim=True) - arrays
    col = arrays.sum(1, keepdim=True) - arrays
    others = arrays.sum((1, 2), keepdim=True) - row - col - arrays
    counts: dict[float, Tensor] = {1.0: arrays}
    for part, count in zip(parts(scheme), (row, col, others), strict=True):
        if part != 0.0:
            counts[part] = counts.get(part, 0) + count
    return [(part, count.reshape(chosen.shape)) for part, count in counts.items()]


def _selected(name: str, which: Selection, size: int) -> Tensor:
    which = plain(which)
    instance(name, which, (int, Tensor))
    if isinstance(which, bool):
        raise TypeError(f"{name} must be an integer or a tensor, got {which!r}")
    if isinstance(which, int):
        which = torch.tensor(which)
    if which.dtype == torch.bool:
        if which.ndim == 0 or which.shape[-1] != size or not bool(which.any(-1).all()):
            raise ValueError(
                f"{name} must select at least one of {size} lines, bool [..., {size}], "
                f"got {list(which.shape)}"
            )
        return which
    if which.dtype.is_floating_point or which.ndim > 1:
        raise TypeError(f"{name} must be an integer, integers [vectors] or bool, got {which!r}")
    if which.numel() == 0 or int(which.min()) < 0 or int(which.max()) >= size:
        raise ValueError(f"{name} must be in 0…{size - 1}, got {which.tolist()}")
    return torch.arange(size, device=which.device) == which[..., None]

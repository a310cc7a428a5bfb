"""Pictures of quantisers and converters: what comes out over what goes in, and by how much not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mho.core import checks, random
from mho.periphery import characterise, formats
from mho.periphery.adc import ADC
from mho.periphery.formats import Quantiser
from mho.plot.styles import BLUE, GREY, axes, name_lines, numbers, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWS = 200


@styled
def transfer_curve(
    quantiser: Quantiser,
    low: float = -1.25,
    high: float = 1.25,
    ax: Axes | None = None,
    *,
    label: str | None = None,
    colour: str = BLUE,
    points: int = 4001,
    gradient: bool = False,
    seed: int = 0,
) -> Axes:
    """Draw a quantiser's output against its input.

    Of stochastic rounding the mean of many draws is drawn, and a band over all values that occur.
    A quantiser that looks at the largest of all its inputs sees the whole range drawn.

    Args:
        quantiser: a format, or any function from tensor to tensor.
        low: smallest input.
        high: largest input, above ``low``.
        ax: where to draw.
        label: for the legend.
        colour: of the line and its band.
        points: inputs, evenly spaced.
        gradient: draw the derivative that training sees, too, as a dotted line.
        seed: of stochastic rounding.

    Raises:
        ValueError: if the range is empty.
    """
    gradient = checks.truth("gradient", gradient)
    formats.check("quantiser", quantiser)
    low = checks.number("low", low)
    high = checks.number("high", high, above=low)
    points = checks.integer("points", points, least=2)
    x = torch.linspace(low, high, points, dtype=torch.float64).requires_grad_()
    stream = random.stream(seed)
    stochastic = formats.is_stochastic(quantiser)
    draws = torch.stack(
        [formats.apply(quantiser, x, stream) for _ in range(_DRAWS if stochastic else 1)]
    )
    ax = axes(ax)
    ax.axline((0.0, 0.0), slope=1.0, color=GREY, linewidth=0.8, linestyle="--")
    at = numbers(x)
    if stochastic:
        bottom, top = numbers(draws.amin(0)), numbers(draws.amax(0))
        ax.fill_between(at, bottom, top, color=colour, alpha=0.18, linewidth=0)
    ax.plot(at, numbers(draws.mean(0)), color=colour, label=label)
    if gradient:
        slope = torch.zeros_like(x)
        if draws.requires_grad:
            (slope,) = torch.autograd.grad(draws[0].sum(), x)
        ax.plot(at, numbers(slope), color=colour, linestyle=":", linewidth=1.2)
    ax.set(xlabel="input", ylabel="output", xlim=(low, high))
    name_lines(ax, label)
    return ax


@styled
def converter_curve(
    adc: ADC,
    converters: int = 1,
    ax: Axes | None = None,
    *,
    seed: int = 0,
    label: str | None = None,
    colour: str = BLUE,
) -> Axes:
    """Draw the codes of some converters against the current, in steps.

    Args:
        adc: what they are; see `mho.periphery.code_transitions`.
        converters: how many are drawn, >= 1.
        ax: where to draw.
        seed: of their fabrication.
        label: for the legend.
        colour: of the lines.

    Raises:
        TypeError, ValueError: if it is no ADC with evenly spaced codes.
    """
    found = characterise.code_transitions(adc, converters, seed=seed)
    low, high = adc.levels
    code = torch.arange(found.shape[1] + 1, dtype=found.dtype) - (found.shape[1] + 1) // 2
    code = code.clamp(low, high)
    ax = axes(ax)
    ax.axline((0.0, 0.0), slope=1.0, color=GREY, linewidth=0.8, linestyle="--")
    span = (float(found.min()) - 1.0, float(found.max()) + 1.0)
    for k, own in enumerate(found):
        at = torch.cat((own.new_tensor(span[:1]), own, own.new_tensor(span[1:])))
        ax.step(
            numbers(at),
            numbers(torch.cat((code, code[-1:]))),
            where="post",
            color=colour,
            linewidth=1.0,
            label=label if k == 0 else None,
        )
    ax.set(xlabel="current (steps)", ylabel="code", xlim=span)
    name_lines(ax, label)
    return ax


@styled
def converter_nonlinearity(
    adc: ADC,
    converters: int = 1,
    ax: Axes | None = None,
    *,
    of: str = "integral",
    seed: int = 0,
    label: str | None = None,
    colour: str = BLUE,
) -> Axes:
    """Draw the nonlinearity of some converters against the code, in steps.

    Args:
        adc: what they are.
        converters: how many are drawn, >= 1.
        ax: where to draw.
        of: ``"integral"`` (`mho.periphery.inl`) or ``"differential"`` (`mho.periphery.dnl`).
        seed: of their fabrication.
        label: for the legend.
        colour: of the lines.

    Raises:
        TypeError, ValueError: if it is no ADC with evenly spaced codes, or ``of`` is another.
    """
    checks.one_of("of", of, ("integral", "differential"))
    levels = characterise.code_transitions(adc, converters, seed=seed)
    found = characterise.inl(levels) if of == "integral" else characterise.dnl(levels)
    code = torch.arange(1, found.shape[1] + 1) - (levels.shape[1] + 1) // 2
    ax = axes(ax)
    ax.axhline(0.0, color=GREY, linewidth=0.8, linestyle="--")
    for k, own in enumerate(found):
        shown = label if k == 0 else None
        ax.plot(numbers(code), numbers(own), color=colour, linewidth=1.0, label=shown)
    ax.set(xlabel="code", ylabel=f"{of} nonlinearity (steps)")
    name_lines(ax, label)
    return ax

"""Tests of converters, as a test bench does them: transitions, nonlinearity, effective bits."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from mho.core import checks, random
from mho.core.text import quantity
from mho.periphery.adc import ADC
from mho.periphery.build import Drawn, Placed, by_line, draw
from mho.periphery.converters.base import ideal_transitions
from mho.periphery.draws import Draws
from mho.periphery.errors import Errors

_SAMPLES = 1 << 13
_SHARE = 0.9
_PERIODS = 1021  # odd and prime to the samples: every phase once


def _drawn(adc: ADC, converters: int, seed: int) -> tuple[Drawn, Tensor]:
    checks.instance("adc", adc, ADC)
    converters = checks.integer("converters", converters)
    like = torch.zeros((), dtype=torch.float64, device="cpu")
    draws = Draws(random.derive(checks.integer("seed", seed, least=0), "bench"), "adc", like)
    if not adc.on_grid:
        raise ValueError(
            "only methods 'uniform' and 'linear' of 2 bits or more have evenly spaced codes, got "
            f"method={adc.method!r}, bits={adc.bits}"
        )
    return draw(adc, draws, converters, converters), like


def _bench(adc: ADC, converters: int, seed: int) -> Errors:
    found, like = _drawn(adc, converters, seed)
    placed = Placed(torch.arange(converters), 1, converters)
    return by_line(adc, found, placed, (1, 1), like)


def code_transitions(adc: ADC, converters: int = 1, *, seed: int = 0) -> Tensor:
    """Return where the codes of some such converters begin.

    Args:
        adc: what they are; without noise.
        converters: how many, >= 1.
        seed: of their fabrication.

    Returns:
        Currents in steps ``[converters, 2^bits - 1]``, rising: those at which codes
        ``-2^(bits-1) + 1, …`` begin; of an ideal converter ``k - 1/2``. Gain and offset are in
        them.

    Raises:
        TypeError, ValueError: if it is no ADC with evenly spaced codes.
    """
    found, like = _drawn(adc, converters, seed)
    levels = ideal_transitions(adc.bits, like).unsqueeze(0)
    if found.transitions is not None:
        levels = found.transitions[found.table]
    return (levels - found.offset.unsqueeze(-1)) / found.gain.unsqueeze(-1) + like.new_zeros(
        len(found.table), 1
    )


def codes(adc: ADC, x: Tensor, converters: int = 1, *, seed: int = 0) -> Tensor:
    """Convert known currents by some such converters.

    Args:
        adc: what they are.
        x: currents in steps ``[points]``, float64.
        converters: how many, >= 1.
        seed: of their fabrication and noise.

    Returns:
        Codes ``[points, converters]``.

    Raises:
        TypeError, ValueError: if it is no ADC with evenly spaced codes.
    """
    errors = _bench(adc, converters, seed)
    given = x.view(1, 1, -1, 1).repeat(1, 1, 1, converters)
    return errors.codes(given, random.stream(seed))[0, 0]


def dnl(transitions: Tensor) -> Tensor:
    """Return differential nonlinearity (steps) ``[converters, codes - 2]``: widths of codes − 1.

    Against the line through the first and the last transition (IEEE Std 1241).

    Args:
        transitions: ``[converters, codes - 1]``; see `code_transitions`.
    """
    width = transitions.diff(dim=-1)
    return width / width.mean(-1, keepdim=True) - 1.0


def inl(transitions: Tensor) -> Tensor:
    """Return integral nonlinearity (steps) ``[converters, codes - 1]``.

    How far each transition lies from the line through the first and the last (IEEE Std 1241).

    Args:
        transitions: ``[converters, codes - 1]``; see `code_transitions`.
    """
    zero = torch.zeros_like(transitions[..., :1])
    return torch.cat((zero, dnl(transitions).cumsum(-1)), dim=-1)


def enob(adc: ADC, converters: int = 16, *, seed: int = 0) -> Tensor:
    """Return the effective number of bits of some such converters, by a sine.

    A sine of nine tenths of full scale, so that offsets do not clip it, is converted; a sine of
    that frequency and an offset are fitted to the codes, and of what is left, η steps (rms),

        ENOB = log2(codes / (η √12))                                (IEEE Std 1241)

    Gain and offset alone cost nothing. A symmetric converter (``method="uniform"``), which lacks
    one code, has ``log2(2^bits - 1)``.

    Args:
        adc: what they are.
        converters: how many are tested, >= 1.
        seed: of their fabrication and noise.

    Returns:
        ``[converters]``.

    Raises:
        TypeError, ValueError: if it is no ADC with evenly spaced codes.
    """
    checks.instance("adc", adc, ADC)
    low, high = adc.levels
    phase = 2.0 * math.pi * _PERIODS * torch.arange(_SAMPLES, dtype=torch.float64) / _SAMPLES
    sine, cosine = phase.sin(), phase.cos()
    middle, size = (high + low) / 2.0, _SHARE * (high - low + 1) / 2.0
    y = codes(adc, middle + size * sine, converters, seed=seed)
    # Over whole periods the three are orthogonal: each is fitted by itself.
    a, b = (2.0 / _SAMPLES * (each @ y) for each in (sine, cosine))
    left = y - y.mean(0) - sine.unsqueeze(1) * a - cosine.unsqueeze(1) * b
    return torch.log2((high - low + 1) / (left.square().mean(0) * 12.0).sqrt())


@functools.lru_cache(maxsize=64)
def effective_bits(adc: ADC) -> tuple[float, float]:
    """Return the mean and the least of the effective bits of some such converters."""
    found = enob(adc)
    return float(found.mean()), float(found.min())


def says_of(adc: ADC) -> str:
    """Say in short how good converters with errors are, and how fast: what follows their spec."""
    found = ""
    if adc.errs and adc.on_grid:
        mean, least = effective_bits(adc)
        worst = "" if mean - least < 0.05 else f", worst of 16 {least:.1f}"
        found = f", {mean:.1f} effective bits{worst}"
    time = adc.read_time
    return found if time is None else f"{found}, {quantity(time, 's')} a read"

"""Units behind the names of columns, as factors to SI."""

from __future__ import annotations

import re
from functools import lru_cache

_BASES = {
    "S": "S siemens Siemens mho mhos ℧",
    "Ω": "Ω ohm ohms Ohm Ohms OHM",
    "V": "V volt volts Volt Volts",
    "A": "A amp amps Amp Amps ampere Ampere amperes Amperes",
    "s": "s sec secs second seconds Sec Second Seconds Sekunden secondes",
}
_SYMBOLS = {symbol: base for base, symbols in _BASES.items() for symbol in symbols.split()}
_PREFIXES = {
    "": 1.0, "a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3,
    "k": 1e3, "K": 1e3, "M": 1e6, "meg": 1e6, "Meg": 1e6, "G": 1e9, "T": 1e12,
    "milli": 1e-3, "micro": 1e-6, "nano": 1e-9, "pico": 1e-12, "kilo": 1e3, "mega": 1e6,
}  # fmt: skip
_LONG = {
    "min": 60.0, "mins": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hrs": 3600.0,
    "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "year": 31557600.0, "years": 31557600.0,
}  # fmt: skip
_QUANTUM = 7.748091729e-5  # 2e²/h (S)
_POWER = re.compile(r"(?:[x×*·]\s*)?(?:10\s*(?:\^|\*\*)?\s*|1?[eE])([+-]?[0-9]+)\s*[·*×]?\s*(.*)")
_RAISED = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789")


@lru_cache(maxsize=1000)
def unit(text: str) -> tuple[str, float] | None:
    """Return the base unit and the factor of a unit; None where it is not known.

    Prefixes, reciprocals and quotients are known (``nA``, ``µS``, ``1/kΩ``, ``Ω^-1``, ``nA/V``),
    a power of ten before it (``10^-6 S``), and ``G0``, the quantum of conductance 2e²/h.

    Args:
        text: as it stands in a file.

    Returns:
        ``"S"``, ``"Ω"``, ``"V"``, ``"A"`` or ``"s"``, and how many of it one unit is.
    """
    text = text.translate(_RAISED).replace("\u03bc", "µ").replace("\u2126", "Ω").strip(" .")
    power = _POWER.fullmatch(text)
    if power is not None:
        inner = unit(power[2])
        exponent = int(power[1])
        return (inner[0], inner[1] * 10.0**exponent) if inner and abs(exponent) <= 30 else None
    if text in ("G0", "G_0", "G₀"):
        return "S", _QUANTUM
    if text.lower() in _LONG and text != "D":
        return "s", _LONG[text.lower()]
    inverse = re.fullmatch(r"1\s*/\s*(.+)|(.+?)\s*\^?\s*[({]?-1[)}]?", text)
    if inverse is not None:
        inner = unit(inverse[1] or inverse[2])
        return _reciprocal(inner) if inner else None
    if "/" in text:
        above, below = (_prefixed(part.strip()) for part in text.split("/", 1))
        if above and below and {above[0], below[0]} == {"A", "V"}:
            return ("S" if above[0] == "A" else "Ω"), above[1] / below[1]
        return None
    return _prefixed(text)


def _reciprocal(inner: tuple[str, float]) -> tuple[str, float] | None:
    other = {"Ω": "S", "S": "Ω"}.get(inner[0])
    return (other, 1.0 / inner[1]) if other else None


def _prefixed(text: str) -> tuple[str, float] | None:
    for symbol, base in _SYMBOLS.items():
        prefix = text[: len(text) - len(symbol)].rstrip()
        if text.endswith(symbol) and prefix in _PREFIXES:
            return base, _PREFIXES[prefix]
    return None

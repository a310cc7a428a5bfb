"""Equations as text: what a model computes, written down instead of computed.

A model's equations take numbers or tensors (``mho.devices.maths``). Given an `Expression` in place
of a voltage, a state or a parameter they return one, which ngspice's behavioural sources can read.
So a model says its equations once, here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

# A sum is worth a node of its own where it is needed twice and is longer than this (characters).
_LONG = 40
_COMPARED = frozenset([">", ">=", "<", "<="])
# From 0 to 1 over a ten-thousandth of what is compared.
_RAMP = "min(1,max(0,0.5+1e4*({0}-{1})/(abs({0})+abs({1})+1e-300)))"
_JOINED = {"&": "&&", "|": "||"}


class Expression:
    """A piece of an equation.

    Attributes:
        form: of the text, with a place for each part.
        parts: expressions and numbers it is made of.
        value: what it comes to at the point of the trace: says the scale of a node.
        condition: whether it is true or false, and no number.
    """

    def __init__(
        self, form: str, parts: tuple[Any, ...] = (), value: Any = 1.0, condition: bool = False
    ) -> None:
        self.form, self.parts, self.value, self.condition = form, parts, value, condition

    @property
    def compared(self) -> bool:
        """Whether this says that one number is larger than another."""
        return self.condition and self.form in ("({}>{})", "({}>={})")

    # ---- operators ---------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return self if _is(other, 0.0) else _binary("+", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self if _is(other, 0.0) else _binary("-", self, other)

    def __rsub__(self, other: Any) -> Any:
        return -self if _is(other, 0.0) else _binary("-", other, self)

    def __mul__(self, other: Any) -> Any:
        if _is(other, 0.0):
            return 0.0
        return self if _is(other, 1.0) else _binary("*", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self if _is(other, 1.0) else _binary("/", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return 0.0 if _is(other, 0.0) else _binary("/", other, self)

    def __neg__(self) -> Any:
        return Expression("(-{})", (self,), -self.value)

    def __abs__(self) -> Any:
        return Expression("abs({})", (self,), abs(self.value))

    def __pow__(self, power: Any) -> Any:
        if power in (2, 3):
            return self * self if power == 2 else self * self * self
        # At 0 the slope of a root is infinite: ngspice's Newton steps need a finite one.
        value = max(self.value, 0.0) ** _value(power)
        return Expression("({0} > 0 ? pow(max({0},1e-30),{1}) : 0)", (self, power), value)

    def __gt__(self, other: Any) -> Any:
        return _binary(">", self, other)

    def __ge__(self, other: Any) -> Any:
        return _binary(">=", self, other)

    def __lt__(self, other: Any) -> Any:
        return _binary("<", self, other)

    def __le__(self, other: Any) -> Any:
        return _binary("<=", self, other)

    def __and__(self, other: Any) -> Any:
        return _binary("&", self, other)

    def __or__(self, other: Any) -> Any:
        return _binary("|", self, other)

    def __bool__(self) -> bool:
        raise TypeError("an equation that asks Python whether something holds cannot be written")

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Write down what torch was asked to compute."""
        known = _FUNCTIONS.get(function)
        if known is None:
            raise TypeError(f"torch.{getattr(function, '__name__', function)} is not written down")
        return known(*args, **(kwargs or {}))


def _binary(sign: str, left: Any, right: Any) -> Any:
    a, b = _value(left), _value(right)
    value = _COMPUTED[sign](a, b)
    condition = sign in _COMPARED or sign in _JOINED
    return Expression(f"({{}}{_JOINED.get(sign, sign)}{{}})", (left, right), value, condition)


def _divided(a: float, b: float) -> float:
    return a / b if b else 0.0


_COMPUTED: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divided,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "&": lambda a, b: a and b,
    "|": lambda a, b: a or b,
}


def _value(part: Any) -> Any:
    return part.value if isinstance(part, Expression) else part


def _is(part: Any, number: float) -> bool:
    return not isinstance(part, Expression) and part == number


# ---- functions -------------------------------------------------------------------------------


def _named(form: str, compute: Callable[[float], float]) -> Callable[[Any], Any]:
    return lambda part: Expression(form, (part,), compute(_value(part)))


def _expm1(part: Any) -> Any:
    return _exp(part) - 1.0


def _log1p(part: Any) -> Any:
    return _log(part + 1.0)


def _where(condition: Any, yes: Any, no: Any) -> Any:
    if not isinstance(condition, Expression):
        return yes if condition else no
    if yes is no or (_is(yes, 0.0) and _is(no, 0.0)):
        return yes
    value = _value(yes) if condition.value else _value(no)
    if _is(no, 0.0) and condition.compared and not _is(condition.parts[1], 0.0):
        # What a threshold lets in at once would stop a solver that stands on it.
        a, b = condition.parts
        ramp = Expression(_RAMP, (a, b), 1.0 if condition.value else 0.0)
        return Expression("({}*{})", (yes, ramp), value)
    return Expression("({} ? {} : {})", (condition, yes, no), value)


def _clamp(part: Any, min: Any = None, max: Any = None) -> Any:
    if min is not None and min != -math.inf:
        part = _largest(part, min)
    if max is not None and max != math.inf:
        part = _smallest(part, max)
    return part


def _largest(a: Any, b: Any) -> Any:
    return Expression("max({},{})", (a, b), max(_value(a), _value(b)))


def _smallest(a: Any, b: Any) -> Any:
    return Expression("min({},{})", (a, b), min(_value(a), _value(b)))


def _guarded(compute: Callable[[float], float]) -> Callable[[float], float]:
    def guarded(value: float) -> float:
        try:
            return compute(value)
        except (ValueError, OverflowError):
            return 1.0

    return guarded


# On the way to a solution arguments may be anything: none may end it.
_exp = _named("exp(min({},700))", _guarded(math.exp))
_log = _named("ln(max({},1e-300))", _guarded(math.log))
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    torch.exp: _exp,
    torch.log: _log,
    torch.log1p: _log1p,
    torch.expm1: _expm1,
    torch.sqrt: _named("sqrt(max({},1e-60))", _guarded(math.sqrt)),
    torch.sinh: _named("sinh(max(min({},700),-700))", _guarded(math.sinh)),
    torch.asinh: _named("asinh({})", math.asinh),
    torch.tanh: _named("tanh({})", math.tanh),
    torch.asin: _named("asin(max(min({},1),-1))", _guarded(math.asin)),
    torch.sign: _named("sgn({})", lambda value: math.copysign(1.0, value)),
    torch.abs: abs,
    torch.where: _where,
    torch.clamp: _clamp,
    torch.maximum: _largest,
    torch.minimum: _smallest,
}


# ---- text ------------------------------------------------------------------------------------


class Written:
    """Expressions as sources of a subcircuit; what several of them need is a node of its own.

    Args:
        name: first letters of the names of such nodes.
    """

    def __init__(self, name: str = "m") -> None:
        self.name = name
        self.lines: list[str] = []
        self._texts: dict[int, str] = {}
        self._uses: dict[int, int] = {}
        self._held: list[Any] = []

    def count(self, parts: Iterable[Any]) -> None:
        """Look at all that will be written, once, before `text` is asked for."""
        for part in parts:
            if not isinstance(part, Expression):
                continue
            self._held.append(part)
            seen = self._uses.get(id(part), 0)
            self._uses[id(part)] = seen + 1
            if not seen:
                self.count(part.parts)

    def text(self, part: Any) -> str:
        """Return the text of an expression, after the lines of the nodes that it needs."""
        if not isinstance(part, Expression):
            number = repr(float(part))
            return f"({number})" if part < 0 else number
        known = self._texts.get(id(part))
        if known is None:
            known = part.form.format(*(self.text(each) for each in part.parts))
            if self._uses.get(id(part), 0) > 1 and len(known) > _LONG and not part.condition:
                known = self._node(known, part.value)
            self._texts[id(part)] = known
        return known

    def _node(self, text: str, value: float) -> str:
        # A node of about 1 V: what ngspice calls equal is the same for all nodes.
        size = abs(value)
        scale = 10.0 ** round(math.log10(size)) if 1e-30 < size < 1e30 else 1.0
        node = f"{self.name}{len(self.lines)}"
        self.lines.append(f"B{node} {node} 0 V = ({text})*{1.0 / scale!r}")
        return f"(V({node})*{scale!r})"

"""Numbers of specs are refused just outside of the bounds that their docstrings state, not inside.

What is documented (``> 0``, ``>= 1``, ``in (0, 1]``, ``0…1``) is read from the docstrings, so that
neither the bound in the code nor the one in the text can move alone.
"""

import inspect
import re

import pytest

from test_numpy_numbers import EXAMPLES

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
STATED = re.compile(
    rf"(?:^|[,(] ?|: )(?P<sign>>=|>|<=|<) (?P<bound>{NUMBER})(?=[,;:.)\s]|$)"
    rf"|in (?P<open>[\[(])(?P<low>{NUMBER}), (?P<high>{NUMBER})(?P<close>[\])])"
    rf"|(?P<from>{NUMBER}) ?… ?(?P<to>{NUMBER})(?=[,;:.)\s]|$)"
)


def documented(kind):
    """What the docstrings of a class and of its bases say of each attribute."""
    texts = {}
    for base in reversed(kind.__mro__):
        said = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        part = said.partition("Attributes:\n")[2].partition("\n\n")[0]
        entries = re.split(r"^    (\w+): ", part, flags=re.MULTILINE)[1:]
        texts |= dict(
            zip(entries[::2], (re.sub(r"\s+", " ", e) for e in entries[1::2]), strict=True)
        )
    return texts


def bounds(text):
    """Bounds of a description, as (value, whether it is allowed itself, +1 if allowed above)."""
    for found in STATED.finditer(text):
        part = found.groupdict()
        if part["sign"]:
            yield float(part["bound"]), "=" in part["sign"], 1 if ">" in part["sign"] else -1
        elif part["open"]:
            yield float(part["low"]), part["open"] == "[", 1
            yield float(part["high"]), part["close"] == "]", -1
        else:
            yield float(part["from"]), True, 1
            yield float(part["to"]), True, -1


# What a spec needs beside, for a bound to be looked at.
SUITED = {
    ("ADC", "decades"): {"method": "log"},
    ("Spread", "correlation"): {"shared": "cause"},
    ("Pulses", "step"): {"stop": 0.5},
}
# Another field's check comes first, or the text tells of what a sign means.
ELSEWHERE = {
    *(("FixedPointAccelerator", "v_read"), ("Diode", "b"), ("Pickett", "barrier")),
    *(("ADC", "rest"), ("Daffodil", "v_adc")),
}


CASES = [
    pytest.param(spec, name, *bound, id=f"{type(spec).__name__}-{name}-{bound[0]:g}-{bound[2]}")
    for spec in EXAMPLES
    for name, text in documented(type(spec)).items()
    if isinstance(getattr(spec, name, None), int | float)
    and not isinstance(getattr(spec, name), bool)
    and name in type(spec).__dataclass_fields__
    and (type(spec).__name__, name) not in ELSEWHERE
    for bound in bounds(text.partition("(draws are kept")[0])
]


def refused(spec, name, value):
    """Whether a value is refused by an error that names its field; of others nothing is said."""
    try:
        spec.replace(**{name: value})
    except ValueError as error:
        return name in str(error)
    return False


@pytest.mark.parametrize(("spec", "name", "bound", "allowed", "inward"), CASES)
def test_documented_bounds_are_the_bounds(spec, name, bound, allowed, inward):
    whole = isinstance(getattr(spec, name), int)
    step = 1 if whole else 1e-9 * max(abs(bound), 1.0)
    at = int(bound) if whole else bound
    inside, outside = (at, at - inward * step) if allowed else (at + inward * step, at)
    spec = spec.replace(**SUITED.get((type(spec).__name__, name), {}))
    assert not refused(spec, name, inside)
    assert refused(spec, name, outside)


def test_many_bounds_are_documented():
    assert len(CASES) > 400

"""What Python, NumPy, PyTorch, SciPy, pandas and matplotlib have removed, offered again.

Old programs stop at names like ``numpy.float``. `as_of` offers them to a program that asks for it,
and says on stderr, once a name, what is used instead. Names that are there stay as they are.
"""

from __future__ import annotations

import collections
import functools
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from mho.core import checks

YEAR = "MHO_COMPAT_AS_OF"
"""Environment variable: the year of the program."""
TRUSTED = "MHO_COMPAT_TRUST_PICKLE"
"""Environment variable: the files that ``torch.load`` may unpickle whole, one a line."""

# Release; the last year in which maintained ones had the names; where these were, and what is used
# instead is; the names, or old=new. Where no name of today does quite the same, see `_WRITTEN`.
_ROWS = """
Python 3.10; 2025; collections; collections.abc; Awaitable Callable Container Coroutine Generator \
Hashable ItemsView Iterable Iterator KeysView Set Mapping MappingView MutableMapping \
MutableSequence MutableSet Reversible Sequence Sized ValuesView
Python 3.11; 2025; inspect; inspect; getargspec=getfullargspec
NumPy 1.23; 2022; numpy; builtins; alen=len asscalar
NumPy 1.24; 2022; numpy; builtins; bool int float complex object str
NumPy 1.24; 2022; numpy; numpy; bool8=bool_ int0=intp
NumPy 2.0; 2024; numpy; numpy; float_=float64 complex_=complex128 cfloat=complex128 NaN=nan NINF \
singlecomplex=complex64 longfloat=longdouble string_=bytes_ asfarray unicode_=str_ Inf=inf \
Infinity=inf infty=inf PINF=inf product=prod cumproduct=cumprod sometrue=any alltrue=all \
round_=round msort mat=asmatrix row_stack=vstack source
NumPy 2.0; 2024; numpy.lib; numpy; source
NumPy 2.4; 2025; numpy; numpy; trapz=trapezoid in1d
PyTorch 2.0; 2022; torch; torch.linalg; symeig=eigh matrix_rank lstsq solve
SciPy 1.14; 2024; scipy.integrate; scipy.integrate; trapz=trapezoid simps=simpson \
cumtrapz=cumulative_trapezoid
SciPy 1.13; 2024; scipy.signal; scipy.signal.windows; blackman gaussian hamming hann kaiser triang
pandas 2.0; 2023; pandas; pandas; DataFrame.iteritems=DataFrame.items \
Series.iteritems=Series.items DataFrame.append=concat Series.append=concat
matplotlib 3.9; 2024; matplotlib.cm; matplotlib.pyplot; get_cmap
"""


class Gone(NamedTuple):
    """A name that is gone since a release, with the class if it is a method's."""

    since: str
    year: int
    place: str
    name: str
    instead: str

    def value(self) -> Any:
        """Say what is used instead, and return it."""
        path = f"{self.place}.{self.name}"
        words, value = _WRITTEN.get(path, ("", None))
        shown = words or self.instead.removeprefix("builtins.")
        _say(f"{path} is gone since {self.since}: {shown} is used")
        return pkgutil.resolve_name(self.instead) if value is None else value


TABLE = tuple(
    Gone(since, int(year), place, old, f"{now}.{new or old}")
    for since, year, place, now, names in (row.split("; ") for row in _ROWS.strip().splitlines())
    for old, _, new in (name.partition("=") for name in names.split())
)
"""What is offered. Styles of seaborn's, and ``torch.load``, have their own functions below."""

_asked: dict[tuple[str, str], Gone] = {}
_said: set[str] = set()


def as_of(year: int) -> None:
    """Offer what was still there in a year, in this process and in those it starts.

    Args:
        year: of the program, as 2022.
    """
    os.environ[YEAR] = str(int(year))
    _asked.clear()
    _asked.update({(gone.place, gone.name): gone for gone in TABLE if year <= gone.year})
    if not any(isinstance(finder, _Later) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Later())
    for name in sorted(_places() & set(sys.modules)):
        _offer(sys.modules[name])


def trust_pickle(path: str | os.PathLike[str]) -> None:
    """Let ``torch.load`` unpickle whole objects from one file, as it did before PyTorch 2.6.

    Unpickling runs code that the file brings: name files you trust, no others.

    Args:
        path: of the file.
    """
    real = os.path.realpath(checks.path("path", path))
    if "\n" in real:
        raise ValueError(f"path must be of one line, got {real!r}")
    os.environ[TRUSTED] = "\n".join(dict.fromkeys([*_trusted(), real]))
    if hasattr(torch.load, "ours"):
        return
    load = torch.load

    @functools.wraps(load)
    def trusting(f: Any, *args: Any, **options: Any) -> Any:
        name = getattr(f, "name", f)  # of an open file
        if isinstance(name, str | os.PathLike) and os.path.realpath(name) in _trusted():
            _say(f"torch.load unpickles {name} whole, as asked for")
            options.setdefault("weights_only", False)
        return load(f, *args, **options)

    trusting.ours = True  # type: ignore[attr-defined]
    torch.load = trusting


def from_environment() -> None:
    """Do what the parent process, or the user, asked for by the environment."""
    if os.environ.get(YEAR):
        as_of(int(os.environ[YEAR]))
    for path in _trusted():
        trust_pickle(path)


def _trusted() -> list[str]:
    return os.environ.get(TRUSTED, "").splitlines()


def _places() -> set[str]:
    return {place for place, _ in _asked} | {"matplotlib.style"}


class _Later(MetaPathFinder):
    """Makes modules find what they lack once they are imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for modules of the table, with what the path has."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _places() else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _offer(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _offer(module: Any) -> None:
    for gone in [gone for gone in _asked.values() if gone.place == module.__name__]:
        kind, _, method = gone.name.rpartition(".")
        if kind:
            if not hasattr(owner := getattr(module, kind), method):
                setattr(owner, method, lambda *a, _gone=gone, **b: _gone.value()(*a, **b))
        elif getattr(vars(module).get(method), "__module__", "") == "torch._linalg_utils":
            delattr(module, method)  # a function that only says that it is gone
    if module.__name__ == "matplotlib.style":
        names = module.use.__globals__
        names["library"] = _Styles(names["library"])
    before = getattr(module, "__getattr__", None)
    if getattr(before, "func", None) is not _found:
        module.__getattr__ = functools.partial(_found, module.__name__, before)


def _found(place: str, before: Callable[[str], Any] | None, name: str) -> Any:
    if (place, name) in _asked:
        return _asked[place, name].value()
    if before is None:
        raise AttributeError(f"module {place!r} has no attribute {name!r}")
    return before(name)


def _say(text: str) -> None:
    if text not in _said:
        _said.add(text)
        print(f"mho.compat: {text}", file=sys.stderr)


class _Styles(dict[str, Any]):
    """Styles of matplotlib; those of seaborn's have got a version in their names."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or super().__contains__(_versioned(name))

    def __missing__(self, name: str) -> Any:
        new = _versioned(name)
        if new == name:
            raise KeyError(name)
        _say(f"the style {name} is gone since matplotlib 3.8: {new} is used")
        return self[new]


def _versioned(name: object) -> str:
    return re.sub(r"^seaborn(?!-v)", "seaborn-v0_8", str(name))


_ArgSpec = collections.namedtuple("_ArgSpec", "args varargs keywords defaults")


def _symeig(input: Any, eigenvectors: bool = False, upper: bool = True) -> Any:
    found = torch.linalg.eigh(input, UPLO="U" if upper else "L")
    return found if eigenvectors else type(found)((found[0], found[1].new_empty(0)))


def _append(self: Any, other: Any, ignore_index: bool = False, **options: Any) -> Any:
    pd = sys.modules["pandas"]
    several = other if isinstance(other, list | tuple) else [other]
    if isinstance(self, pd.DataFrame):
        several = [pd.Series(one) if isinstance(one, dict) else one for one in several]
        several = [
            one.to_frame().T.infer_objects() if isinstance(one, pd.Series) else one
            for one in several
        ]
    filled = [one for one in (self, *several) if len(one)]
    return pd.concat(filled or [self], ignore_index=ignore_index, **options)


_SOURCE = ("inspect.getsource, printed,", lambda object: print(inspect.getsource(object)))
# What is said, if not the name of the table, and what is used.
_WRITTEN: dict[str, tuple[str, Any]] = {
    "inspect.getargspec": ("", lambda func: _ArgSpec(*inspect.getfullargspec(func)[:4])),
    "numpy.NINF": ("-numpy.inf", -np.inf),
    "numpy.asscalar": ("a.item()", lambda a: a.item()),
    "numpy.asfarray": ("numpy.asarray(a, float)", lambda a, dtype=float: np.asarray(a, dtype)),
    "numpy.in1d": (
        "numpy.isin of the flat array",
        lambda ar1, *args, **options: np.isin(np.ravel(ar1), *args, **options),
    ),
    "numpy.msort": ("numpy.sort(a, axis=0)", lambda a: np.sort(a, axis=0)),
    "numpy.source": _SOURCE,
    "numpy.lib.source": _SOURCE,
    "pandas.DataFrame.append": ("", _append),
    "pandas.Series.append": ("", _append),
    "torch.symeig": ("", _symeig),
    "torch.lstsq": (
        "torch.linalg.lstsq(A, B)",
        lambda input, A: tuple(torch.linalg.lstsq(A, input))[:2],
    ),
    "torch.solve": (
        "torch.linalg.solve(A, B)",
        lambda input, A: (torch.linalg.solve(A, input), torch.linalg.lu_factor(A)[0]),
    ),
}

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
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

YEAR = "MHO_COMPAT_AS_OF"
"""Environment variable: the year of the program."""
TRUSTED = "MHO_COMPAT_TRUST_PICKLE"
"""Environment variable: the files that ``torch.load`` may unpickle whole."""


class Gone(NamedTuple):
    """Names of a module or class that are gone.

    Attributes:
        since: the release without them.
        place: the module, or ``module:class``.
        instead: where to find what is used instead (``{}``: of the same name), or a key of
            `_WRITTEN`.
        names: separated by blanks.
    """

    since: str
    place: str
    instead: str
    names: str


_TEXT = """
Python 3.10    | collections      | collections.abc.{} | Awaitable Callable Container Coroutine
Python 3.10    | collections      | collections.abc.{} | Generator Hashable
Python 3.10    | collections      | collections.abc.{} | ItemsView Iterable Iterator KeysView
Python 3.10    | collections      | collections.abc.{} | Mapping MappingView
Python 3.10    | collections      | collections.abc.{} | MutableMapping MutableSequence MutableSet
Python 3.10    | collections      | collections.abc.{} | Reversible Sequence
Python 3.10    | collections      | collections.abc.{} | Set Sized ValuesView
Python 3.11    | inspect          | inspect.getfullargspec | getargspec
NumPy 1.24     | numpy            | builtins.{} | bool int float complex object str
NumPy 1.24     | numpy            | numpy.bool_ | bool8
NumPy 1.24     | numpy            | numpy.intp | int0
NumPy 1.23     | numpy            | a.item() | asscalar
NumPy 1.23     | numpy            | builtins.len | alen
NumPy 2.0      | numpy            | numpy.float64 | float_
NumPy 2.0      | numpy            | numpy.complex128 | complex_ cfloat
NumPy 2.0      | numpy            | numpy.complex64 | singlecomplex
NumPy 2.0      | numpy            | numpy.longdouble | longfloat
NumPy 2.0      | numpy            | numpy.bytes_ | string_
NumPy 2.0      | numpy            | numpy.str_ | unicode_
NumPy 2.0      | numpy            | numpy.nan | NaN
NumPy 2.0      | numpy            | numpy.inf | Inf Infinity infty PINF
NumPy 2.0      | numpy            | -numpy.inf | NINF
NumPy 2.0      | numpy            | numpy.prod | product
NumPy 2.0      | numpy            | numpy.cumprod | cumproduct
NumPy 2.0      | numpy            | numpy.any | sometrue
NumPy 2.0      | numpy            | numpy.all | alltrue
NumPy 2.0      | numpy            | numpy.round | round_
NumPy 2.0      | numpy            | numpy.asmatrix | mat
NumPy 2.0      | numpy            | numpy.vstack | row_stack
NumPy 2.0      | numpy            | numpy.sort(a, axis=0) | msort
NumPy 2.0      | numpy            | numpy.asarray(a, float) | asfarray
NumPy 2.0      | numpy            | inspect.getsource, printed, | source
NumPy 2.0      | numpy.lib        | inspect.getsource, printed, | source
NumPy 2.4      | numpy            | numpy.trapezoid | trapz
NumPy 2.4      | numpy            | numpy.isin of the flat array | in1d
PyTorch 2.0    | torch            | torch.linalg.eigh | symeig
PyTorch 2.0    | torch            | torch.linalg.lstsq(A, B) | lstsq
PyTorch 2.0    | torch            | torch.linalg.solve(A, B) | solve
PyTorch 2.0    | torch            | torch.linalg.{} | matrix_rank
SciPy 1.14     | scipy.integrate  | scipy.integrate.trapezoid | trapz
SciPy 1.14     | scipy.integrate  | scipy.integrate.simpson | simps
SciPy 1.14     | scipy.integrate  | scipy.integrate.cumulative_trapezoid | cumtrapz
SciPy 1.13     | scipy.signal     | scipy.signal.windows.{} | blackman gaussian hamming hann kaiser
SciPy 1.13     | scipy.signal     | scipy.signal.windows.{} | triang
pandas 2.0     | pandas:DataFrame | pandas.concat | append
pandas 2.0     | pandas:DataFrame | pandas.DataFrame.items | iteritems
pandas 2.0     | pandas:Series    | pandas.concat | append
pandas 2.0     | pandas:Series    | pandas.Series.items | iteritems
matplotlib 3.9 | matplotlib.cm    | matplotlib.pyplot.get_cmap | get_cmap
"""
# The last year in which maintained releases had what these have not.
_YEARS = {
    "Python 3.10": 2025,
    "Python 3.11": 2025,
    "NumPy 1.23": 2022,
    "NumPy 1.24": 2022,
    "NumPy 2.0": 2024,
    "NumPy 2.4": 2025,
    "PyTorch 2.0": 2022,
    "SciPy 1.13": 2024,
    "SciPy 1.14": 2024,
    "pandas 2.0": 2023,
    "matplotlib 3.9": 2024,
}

TABLE = [Gone(*re.split(r" +\| ", line)) for line in _TEXT.strip().splitlines()]
"""What is offered. Styles of seaborn's, and ``torch.load``, have their own functions below."""

_asked: list[Gone] = []
_said: set[str] = set()


def as_of(year: int) -> None:
    """Offer what was still there in a year, in this process and in those it starts.

    Args:
        year: of the program, as 2022.
    """
    os.environ[YEAR] = str(int(year))
    _asked[:] = [gone for gone in TABLE if year <= _YEARS[gone.since]]
    if not any(isinstance(finder, _Later) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Later())
    for name in _modules() & set(sys.modules):
        _offer(sys.modules[name])


def trust_pickle(path: str | os.PathLike[str]) -> None:
    """Let ``torch.load`` unpickle whole objects from one file, as it did before PyTorch 2.6.

    Unpickling runs code that the file brings: name files you trust, no others.

    Args:
        path: of the file.
    """
    trusted = [*_trusted(), os.path.realpath(path)]
    os.environ[TRUSTED] = os.pathsep.join(dict.fromkeys(trusted))
    if not hasattr(torch.load, "ours"):
        torch.load = _trusting(torch.load)


def active() -> bool:
    """Say whether `as_of` or `trust_pickle` holds, in this process or for it."""
    return bool(os.environ.get(YEAR) or _trusted())


def from_environment() -> None:
    """Do what the parent process, or the user, asked for by the environment."""
    if os.environ.get(YEAR):
        as_of(int(os.environ[YEAR]))
    for path in _trusted():
        trust_pickle(path)


def _trusted() -> list[str]:
    return [path for path in os.environ.get(TRUSTED, "").split(os.pathsep) if path]


def _trusting(load: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load)
    def trusting(f: Any, *args: Any, **options: Any) -> Any:
        name = getattr(f, "name", f)  # of an open file
        if isinstance(name, str | os.PathLike) and os.path.realpath(name) in _trusted():
            _say(f"torch.load unpickles {name} whole, as asked for")
            options.setdefault("weights_only", False)
        return load(f, *args, **options)

    return _ours(trusting)


def _ours(function: Callable[..., Any]) -> Callable[..., Any]:
    function.ours = True  # type: ignore[attr-defined]
    return function


def _modules() -> set[str]:
    return {gone.place.partition(":")[0] for gone in _asked} | {"matplotlib.style"}


class _Later(MetaPathFinder):
    """Makes modules find what they lack once they are imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for modules of the table, with what the finders behind this one have."""
        if fullname not in _modules():
            return None
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :]
        found = (finder.find_spec(fullname, path, target) for finder in behind)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _offer(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _offer(module: Any) -> None:
    name = module.__name__
    for gone in _asked:
        if gone.place.startswith(f"{name}:"):
            _offer_method(getattr(module, gone.place.partition(":")[2]), gone)
        elif gone.place == name == "torch" and _refuses(getattr(module, gone.names, None)):
            delattr(module, gone.names)
    if name == "matplotlib.style":
        names = module.use.__globals__
        names["library"] = _Styles(names["library"])
    before = getattr(module, "__getattr__", None)
    if not hasattr(before, "ours"):
        module.__getattr__ = _ours(functools.partial(_found, name, before))


def _refuses(function: Any) -> bool:
    """Say whether a function of torch is there only to say that it is gone."""
    return getattr(function, "__module__", None) == "torch._linalg_utils"


def _found(place: str, before: Callable[[str], Any] | None, name: str) -> Any:
    for gone in _asked:
        if gone.place == place and name in gone.names.split():
            return _instead(gone, name)
    if before is None:
        raise AttributeError(f"module {place!r} has no attribute {name!r}")
    return before(name)


def _offer_method(kind: type, gone: Gone) -> None:
    def method(*args: Any, **options: Any) -> Any:
        return _instead(gone, gone.names)(*args, **options)

    if not hasattr(kind, gone.names):
        setattr(kind, gone.names, method)


def _instead(gone: Gone, name: str) -> Any:
    where = gone.instead.format(name)
    shown = where.removeprefix("builtins.")
    _say(f"{gone.place.replace(':', '.')}.{name} is gone since {gone.since}: {shown} is used")
    return _WRITTEN[where] if where in _WRITTEN else pkgutil.resolve_name(where)


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
        several = [_rows(one) for one in several]
    filled = [one for one in (self, *several) if len(one)]
    return pd.concat(filled or [self], ignore_index=ignore_index, **options)


def _rows(other: Any) -> Any:
    pd = sys.modules["pandas"]
    if isinstance(other, dict):
        other = pd.Series(other)
    return other.to_frame().T.infer_objects() if isinstance(other, pd.Series) else other


# Where no function of today does quite the same.
_WRITTEN: dict[str, Any] = {
    "-numpy.inf": -np.inf,
    "a.item()": lambda a: a.item(),
    "inspect.getfullargspec": lambda func: _ArgSpec(*inspect.getfullargspec(func)[:4]),
    "inspect.getsource, printed,": lambda object: print(inspect.getsource(object)),
    "numpy.asarray(a, float)": lambda a, dtype=float: np.asarray(a, dtype),
    "numpy.isin of the flat array": lambda ar1, *args, **kw: np.isin(np.ravel(ar1), *args, **kw),
    "numpy.sort(a, axis=0)": lambda a: np.sort(a, axis=0),
    "pandas.concat": _append,
    "torch.linalg.eigh": _symeig,
    "torch.linalg.lstsq(A, B)": lambda input, A: tuple(torch.linalg.lstsq(A, input))[:2],
    "torch.linalg.solve(A, B)": lambda input, A: (
        torch.linalg.solve(A, input),
        torch.linalg.lu_factor(A)[0],
    ),
}

"""Installing a compatibility layer under the old system's name."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

NAMES = ("memtorch", "xbtorch")
"""Packages that have a compatibility layer."""


class NotShadowedError(ImportError):
    """The real package is there, and hiding it was not asked for."""


class _Finder(MetaPathFinder):
    """Finds ``name`` (the top package alone: it brings all its submodules) as ``mho.compat.…``.

    Args:
        name: of the old system.
        hidden: modules of the real package that had been imported before.
    """

    def __init__(self, name: str, hidden: dict[str, ModuleType]) -> None:
        self.name = name
        self.hidden = hidden

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Answer for the old system's name; other finders are asked for all else."""
        if fullname == self.name:
            return ModuleSpec(fullname, _Alias(), is_package=True)
        if fullname.startswith(f"{self.name}."):
            # All modules there are were named by the alias below. Looking on would find the
            # parent's files a second time, as other modules.
            raise ModuleNotFoundError(
                f"No module named {fullname!r} (mho.compat.{self.name} stands in for "
                f"{self.name}, and has none)",
                name=fullname,
            )
        return None


class _Alias(Loader):
    """Loads nothing: the compatibility layer itself, with all its submodules, takes the name."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the layer, and name its modules after the old system's."""
        real = importlib.import_module(f"mho.compat.{spec.name}")
        self.spec = real.__spec__
        for alias, module in _modules(spec.name, real):
            sys.modules[alias] = module
        return real

    def exec_module(self, module: ModuleType) -> None:
        """Give the layer its own spec back: it has been executed under its own name."""
        module.__spec__ = self.spec


def _modules(name: str, package: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    """Yield the old names of all modules of a layer, and the modules."""
    prefix = f"{package.__name__}."
    for found in pkgutil.walk_packages(package.__path__, prefix):
        inner = found.name[len(prefix) :]
        if not any(part.startswith("_") for part in inner.split(".")):
            yield f"{name}.{inner}", _import(found.name)


def _import(name: str) -> ModuleType:
    # A class may have the name of its module and hide it in the package, as memtorch.mn.Linear
    # does. Importing the module afterwards must not bring the module out again.
    parent_name, _, child = name.rpartition(".")
    parent = importlib.import_module(parent_name)
    before = vars(parent).get(child)
    module = importlib.import_module(name)
    if before is not None:
        setattr(parent, child, before)
    return module


def install(name: str, force: bool = False) -> None:
    """Make ``import name`` resolve to ``mho.compat.…``; nothing is imported yet.

    Doing it again changes nothing.

    Args:
        name: ``"memtorch"`` or ``"xbtorch"``.
        force: hide a real package of that name.

    Raises:
        ValueError: for another name.
        NotShadowedError: if a real package of that name is installed or imported, and ``force``
            is not set. It is an ImportError.
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(map(repr, NAMES))}; got {name!r}")
    if installed(name):
        return
    if importlib.util.find_spec(f"mho.compat.{name}") is None:
        raise ImportError(f"mho.compat.{name} is not part of this installation of mho")
    place = _real(name)
    if place is not None and not force:
        raise NotShadowedError(
            f"a package {name} is installed ({place}) and is not hidden; "
            f"ask for it with force=True, or use mho.compat.{name} by its own name"
        )
    sys.meta_path.insert(0, _Finder(name, _take(name)))


def uninstall(name: str) -> None:
    """Undo `install`: the name means again what it did before. Where it is not installed, nothing.

    Args:
        name: ``"memtorch"`` or ``"xbtorch"``.
    """
    finder = _finder(name)
    if finder is not None:
        sys.meta_path.remove(finder)
        _take(name)
        sys.modules.update(finder.hidden)


def installed(name: str) -> bool:
    """Say whether ``import name`` resolves to ``mho.compat.…``."""
    return _finder(name) is not None


def _finder(name: str) -> _Finder | None:
    found = (f for f in sys.meta_path if isinstance(f, _Finder) and f.name == name)
    return next(found, None)


def _real(name: str) -> str | None:
    """Where the real package is, or None. A folder without ``__init__`` is no package."""
    module = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if module is None else module.__spec__
    if spec is None:
        return None if module is None else "already imported"
    return spec.origin


def _take(name: str) -> dict[str, ModuleType]:
    """Remove and return the imported modules of a package."""
    inside = [key for key in sys.modules if key == name or key.startswith(f"{name}.")]
    return {key: sys.modules.pop(key) for key in inside}

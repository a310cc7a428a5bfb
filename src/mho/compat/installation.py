"""Installing a compatibility layer under the old system's name, in child processes, too.

Forked children have what their parent has. Others find a stand-in on their path: a package of the
old name that installs the layer when it is imported (`stand_in`). It is last on the path, and after
what ``PYTHONPATH`` holds: what is really there goes before.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from mho.compat import gone
from mho.core import checks

NAMES = ("memtorch", "xbtorch")
"""Packages that have a compatibility layer."""

FORCE = "MHO_COMPAT_FORCE"
"""Environment variable: really installed packages are hidden."""

_STAND_INS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stand_ins")


class NotShadowedError(ImportError):
    """The real package is there, and hiding it was not asked for."""


class _Finder(MetaPathFinder, Loader):
    """Finds ``name`` (the top package alone: it brings all its submodules) as ``mho.compat.…``.

    It loads nothing: the layer itself, with all its submodules, takes the name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.hidden = _take(name)
        self.forced = os.environ.get(FORCE)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the old system's name; other finders are asked for all else."""
        return ModuleSpec(fullname, self, is_package=True) if fullname == self.name else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the layer, and name its modules after the old system's."""
        real = importlib.import_module(f"mho.compat.{self.name}")
        self.spec = real.__spec__
        # All of them: any that was left would be found in the layer's folder, as a second module.
        inside = pkgutil.walk_packages(real.__path__, f"{real.__name__}.")
        sys.modules.update(
            {one.name.removeprefix("mho.compat."): _import(one.name) for one in inside}
        )
        return real

    def exec_module(self, module: ModuleType) -> None:
        """Give the layer its own spec back: it has been executed under its own name."""
        module.__spec__ = self.spec


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

    Child processes started from now on find it, too, unless they are given an environment without
    this one's ``PYTHONPATH``. Doing it again changes nothing.

    Args:
        name: ``"memtorch"`` or ``"xbtorch"``.
        force: hide a real package of that name.

    Raises:
        ValueError: for another name.
        NotShadowedError: if a real package of that name is installed or imported, and ``force``
            is not set. It is an ImportError.
    """
    force = checks.truth("force", force)
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(map(repr, NAMES))}; got {name!r}")
    if installed(name):
        return
    place = _real(name)
    if place is not None and not force:
        raise NotShadowedError(
            f"a package {name} is installed ({place}) and is not hidden; "
            f"ask for it with force=True, or use mho.compat.{name} by its own name"
        )
    sys.meta_path.insert(0, _Finder(name))
    stand_in_at, paths = os.path.join(_STAND_INS, name), _paths()
    for path in (sys.path, paths):
        if stand_in_at not in path:
            # Before what is really there, if that is to be hidden; after the program's own folder.
            first = 1 if path is sys.path else 0
            path.insert(len(path) if place is None else first, stand_in_at)
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    if place is not None:
        os.environ[FORCE] = "1"


def uninstall(name: str) -> None:
    """Undo `install`: the name means again what it did before. Where it is not installed, nothing.

    Args:
        name: ``"memtorch"`` or ``"xbtorch"``.
    """
    finder = _finder(name)
    if finder is not None:
        sys.meta_path.remove(finder)
        place = os.path.join(_STAND_INS, name)
        sys.path[:] = [entry for entry in sys.path if entry != place]
        paths = os.pathsep.join(entry for entry in _paths() if entry != place)
        for variable, before in (("PYTHONPATH", paths or None), (FORCE, finder.forced)):
            os.environ.pop(variable, None)
            if before is not None:
                os.environ[variable] = before
        _take(name)
        sys.modules.update(finder.hidden)


def installed(name: str) -> bool:
    """Say whether ``import name`` resolves to ``mho.compat.…``."""
    return _finder(name) is not None


def forced() -> bool:
    """Say whether the environment asks for hiding really installed packages."""
    return os.environ.get(FORCE, "0") not in ("", "0")


def stand_in(name: str) -> None:
    """Install a layer in a child process: what the stand-in of that name calls when imported.

    Raises:
        NotShadowedError: if this process has the real package.
    """
    gone.from_environment()
    install(name, forced())


def _finder(name: str) -> _Finder | None:
    found = (f for f in sys.meta_path if isinstance(f, _Finder) and f.name == name)
    return next(found, None)


def _paths() -> list[str]:
    value = os.environ.get("PYTHONPATH", "")
    return value.split(os.pathsep) if value else []


def _real(name: str) -> str | None:
    """Where the real package is, or None. A folder without ``__init__`` is no package."""
    module = sys.modules.get(name)
    if module is not None:
        return "already imported" if module.__spec__ is None else module.__spec__.origin
    # As `importlib.util.find_spec`, but for the stand-ins; what is no string on the path, and old
    # finders, Python passes over, too.
    path = [entry for entry in sys.path if isinstance(entry, str) and _STAND_INS not in entry]
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    specs = (finder.find_spec(name, path) for finder in finders)
    return next((spec.origin for spec in specs if spec is not None), None)


def _take(name: str) -> dict[str, ModuleType]:
    """Remove and return the imported modules of a package."""
    inside = [key for key in sys.modules if key == name or key.startswith(f"{name}.")]
    return {key: sys.modules.pop(key) for key in inside}

"""What documents and docstrings name exists."""

import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import mho

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`(mho(?:\.\w+)+)")
OWN = re.compile(r"(?<!`)`((?!mho\b|torch\b|copy\b)[A-Za-z_]\w*(?:\.\w+)*)(?:\([^`]*\))?`(?!`)")
PAGES = sorted(
    path
    for folder, ending in (("src", "py"), ("docs", "md"), ("examples", "py"), ("benchmarks", "py"))
    for path in (ROOT / folder).rglob(f"*.{ending}")
) + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]


def _exists(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return _holds(found, parts[length:])
    return False


def _holds(found: object, names: list[str]) -> bool:
    for name in names:
        if name in getattr(found, "__annotations__", {}) and not hasattr(found, name):
            return name == names[-1]  # a field without a default
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


@functools.cache
def _spaces() -> list[object]:
    """All modules of the package and all classes in them."""
    names = [m.name for m in pkgutil.walk_packages(mho.__path__, "mho.") if ".compat" not in m.name]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    inside = [c for m in modules for c in vars(m).values() if inspect.isclass(c)]
    return [*modules, *dict.fromkeys(c for c in inside if c.__module__.startswith("mho"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_name_leads_somewhere(page):
    names = set(NAMED.findall(page.read_text(encoding="utf-8")))
    assert sorted(name for name in names if not _exists(name)) == []


def test_every_name_in_a_docstring_is_defined_somewhere():
    sources = [page for page in (ROOT / "src").rglob("*.py") if "compat" not in page.parts]
    found = {(name, page.name) for page in sources for name in OWN.findall(page.read_text("utf-8"))}
    assert len(found) > 200
    known = {
        name
        for name in {name for name, _ in found}
        if any(_holds(space, name.split(".")) for space in _spaces())
    }
    assert sorted(pair for pair in found if pair[0] not in known) == []


def test_names_are_found_and_missed():
    text = "see `mho.Crossbar.program`, ``mho.cells.life.age(…)`` and `mho.matrix.StoredMatrix`"
    names = NAMED.findall(text)
    assert names == ["mho.Crossbar.program", "mho.cells.life.age", "mho.matrix.StoredMatrix"]
    assert [_exists(name) for name in names] == [True, True, False]
    assert _exists("mho.hardware.Hardware.device")
    assert not _exists("mho.hardware.Hardware.gone")

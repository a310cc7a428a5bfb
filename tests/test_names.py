"""Modules can be reached by their dotted names, and the face of a package hides none of them."""

import importlib
import pkgutil
import types

import pytest

import mho


def packages():
    found = [mho]
    for info in pkgutil.walk_packages(mho.__path__, "mho."):
        # The older packages have modules and classes of one name, and so have their doubles.
        if info.ispkg and not info.name.startswith("mho.compat."):
            try:
                found.append(importlib.import_module(info.name))
            except ImportError:  # of a package that needs an extra
                continue
    return found


@pytest.mark.parametrize("package", packages(), ids=lambda p: p.__name__)
def test_no_module_hides_behind_another_thing_of_its_name(package):
    for info in pkgutil.iter_modules(package.__path__):
        if info.name.startswith("_"):
            continue
        try:
            module = importlib.import_module(f"{package.__name__}.{info.name}")
        except ImportError:
            continue
        seen = getattr(package, info.name)
        assert isinstance(seen, types.ModuleType), f"{module.__name__} is hidden by {seen!r}"
        assert seen is module


def test_the_face_shows_what_users_use():
    shown = [name for name in dir(mho) if not name.startswith("_")]
    for name in ("convert", "calibrate", "compensate", "summary", "plot", "study", "testing"):
        assert name in shown
    for name in ("checks", "spec", "random", "wiring", "matrix", "life"):
        assert name not in shown
    assert callable(mho.convert)

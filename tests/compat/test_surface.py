"""The older systems' public surface: names, parameters, defaults, bases, values, attributes."""

import pytest

import mho.compat
from compat import fresh_memtorch, fresh_xbtorch, surface
from compat.overriding import API

if not API.is_dir():
    pytest.skip("the facts of the old APIs are not at hand", allow_module_level=True)

MAKE = {"memtorch": fresh_memtorch.MAKE, "xbtorch": fresh_xbtorch.MAKE}


def of_both(listed):
    return [row for system in MAKE for row in listed(system)]


def paths(rows):
    return [f"{module}.{path}" for module, path, _ in rows]


FACTS = {name: names for system in MAKE for name, names in surface.api(system).items()}
DIFFERENT = {path: allowed for system in MAKE for path, allowed in surface.table(system).items()}
FUNCTIONS, CLASSES = of_both(surface.functions), of_both(surface.classes)
VALUES, ATTRIBUTES = of_both(surface.values), of_both(surface.attributes)


@pytest.fixture(autouse=True)
def old_names():
    """``import memtorch`` and ``import xbtorch`` are mho."""
    mine = [system for system in MAKE if not mho.compat.installed(system)]
    for system in mine:
        mho.compat.install(system)
    yield
    for system in mine:
        mho.compat.uninstall(system)


@pytest.mark.parametrize("name", FACTS)
def test_modules_and_their_names(name):
    surface.check_module(name, FACTS[name])


@pytest.mark.parametrize(("module", "path", "told"), FUNCTIONS, ids=paths(FUNCTIONS))
def test_parameters_and_defaults(module, path, told):
    allowed = DIFFERENT.get(f"{module}.{path}".removesuffix(".__init__"), set())
    surface.check_function(module, path, told, allowed)


@pytest.mark.parametrize(("module", "name", "told"), VALUES, ids=paths(VALUES))
def test_values(module, name, told):
    surface.check_value(module, name, told, DIFFERENT.get(f"{module}.{name}", set()))


@pytest.mark.parametrize(("module", "name", "facts"), CLASSES, ids=paths(CLASSES))
def test_bases_and_values_of_classes(module, name, facts):
    surface.check_class(module, name, facts)


def test_every_documented_difference_is_of_something_that_there_is():
    known = {path.removesuffix(".__init__") for path in paths([*FUNCTIONS, *VALUES])}
    assert set(DIFFERENT) <= known


@pytest.mark.filterwarnings("ignore:the tables of")  # of presets, which are not part of mho
@pytest.mark.parametrize(("module", "name", "attributes"), ATTRIBUTES, ids=paths(ATTRIBUTES))
def test_attributes_of_fresh_objects(module, name, attributes):
    make = MAKE[module.partition(".")[0]]
    assert surface.missing(make[name](), attributes) == []

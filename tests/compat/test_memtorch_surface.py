"""MemTorch's whole public surface: every name, parameter, default, base, value and attribute."""

import pytest
from torch import nn

import mho.compat
from compat import surface
from compat.overriding import API

if not API.is_dir():
    pytest.skip("the facts of the old API are not at hand", allow_module_level=True)

SYSTEM = "memtorch"
FACTS = surface.api(SYSTEM)
DIFFERENT = surface.table(SYSTEM)
FUNCTIONS = list(surface.functions(SYSTEM))
CLASSES = list(surface.classes(SYSTEM))
VALUES = list(surface.values(SYSTEM))
ATTRIBUTES = list(surface.attributes(SYSTEM))


def paths(rows):
    return [f"{module}.{path}" for module, path, _ in rows]


@pytest.fixture(autouse=True)
def old_name():
    """``import memtorch`` is mho."""
    mine = not mho.compat.installed(SYSTEM)
    mho.compat.install(SYSTEM)
    yield
    if mine:
        mho.compat.uninstall(SYSTEM)


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


@pytest.mark.parametrize(("module", "name", "attributes"), ATTRIBUTES, ids=paths(ATTRIBUTES))
def test_attributes_of_fresh_objects(module, name, attributes):
    assert surface.missing(MAKE[name](), attributes) == []


# ---- fresh objects


def memristor():
    from memtorch.bh.memristor import Memristor

    class Mine(Memristor):
        def simulate(self, voltage_signal):
            """Nothing moves."""

        def set_conductance(self, conductance):
            self.g = conductance

    return Mine(2e3, 1e3, 1e-3)


def device(name):
    import memtorch

    return getattr(memtorch.bh.memristor, name)()


def crossbar():
    import memtorch

    model = memtorch.bh.memristor.VTEAM
    return memtorch.bh.crossbar.Crossbar(model, {}, (3, 4))


def tile():
    import memtorch

    return memtorch.bh.crossbar.Tile((3, 4))


def layer(name, digital):
    import memtorch

    model = memtorch.bh.memristor.VTEAM
    return getattr(memtorch.mn, name)(digital, model, {}, verbose=False)


MAKE = {
    **{
        name: lambda name=name: device(name)
        for name in ("Data_Driven", "Data_Driven2021", "LinearIonDrift", "Stanford_PKU", "VTEAM")
    },
    "Memristor": memristor,
    "Crossbar": crossbar,
    "Tile": tile,
    "Linear": lambda: layer("Linear", nn.Linear(3, 2)),
    "Conv1d": lambda: layer("Conv1d", nn.Conv1d(1, 2, 3)),
    "Conv2d": lambda: layer("Conv2d", nn.Conv2d(1, 2, 3)),
    "Conv3d": lambda: layer("Conv3d", nn.Conv3d(1, 2, 3)),
    "RNN": lambda: layer("RNN", nn.RNN(3, 2, bidirectional=True)),
}

"""XBTorch's whole public surface: every name, parameter, default, base, value and attribute."""

import tempfile

import numpy as np
import pytest
import torch
from torch import nn

import mho.compat
from compat import surface
from compat.overriding import API

if not API.is_dir():
    pytest.skip("the facts of the old API are not at hand", allow_module_level=True)

SYSTEM = "xbtorch"
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
    """``import xbtorch`` is mho."""
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


def of(module, name, *args, **kwargs):
    import importlib

    return getattr(importlib.import_module(f"xbtorch.{module}"), name)(*args, **kwargs)


def table_device():
    """One whose tables are files: two axes, and the distribution of jumps at each state."""
    axes = {
        "g": torch.linspace(1e-6, 2e-6, 3),
        "dg": torch.linspace(-1e-7, 1e-7, 5),
        "cdf": torch.linspace(0.0, 1.0, 5).expand(3, 5),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = {
            f"{way}_{name}": f"{folder}/{way}_{name}.txt"
            for way in ("reset", "set")
            for name in axes
        }
        for name, file in files.items():
            np.savetxt(file, axes[name.partition("_")[2]].numpy())
        return of("devices.base", "TabularDevice", **files, max_level=32)


def code_loss():
    codes = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    model = nn.Sequential(of("deployment.correction", "CollaborativeLogisticClassifier", 4, 3))
    return of("deployment.correction", "CollaborativeLoss", codes, model)


MAKE = {
    "NMF": lambda: of("decomposition", "NMF"),
    "SBPCA": lambda: of("decomposition", "SBPCA"),
    "TruncatedSVD": lambda: of("decomposition", "TruncatedSVD"),
    "GenericAccelerator": lambda: of("deployment", "GenericAccelerator", 50, 100, 0.3, 0, 0),
    "SimpleFixedPoint": lambda: of("deployment", "SimpleFixedPoint"),
    "Daffodil": lambda: of("deployment", "Daffodil"),
    "CollaborativeLogisticClassifier": lambda: of(
        "deployment.correction", "CollaborativeLogisticClassifier", 4, 3
    ),
    "CollaborativeLoss": code_loss,
    "GenericDevice": lambda: of("devices", "GenericDevice", 1e-6, 2e-6),
    "AnalyticalDevice": lambda: of(
        "devices", "AnalyticalDevice", 1e-6, 2e-6, 0.1, 0.1, 1.0, -1.0, 32
    ),
    "AnalyticalIdeal": lambda: of("devices", "AnalyticalIdeal"),
    "AnalyticalReal": lambda: of("devices", "AnalyticalReal"),
    "TabularDevice": table_device,
    "TabularAnalyticalReal": lambda: of("devices", "TabularAnalyticalReal"),
    "TabularCompactFeFETKriging": lambda: of("devices", "TabularCompactFeFETKriging", "vgs_1_sd_5"),
    "TabularExperimentalFemFETKriging": lambda: of(
        "devices", "TabularExperimentalFemFETKriging", "vg3"
    ),
    "WAGEQuantizer": lambda: of("quant.wage_qtorch", "WAGEQuantizer", 8, 8),
}

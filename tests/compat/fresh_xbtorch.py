"""Fresh objects of XBTorch's classes, by name. The package must be installed under its name."""

import importlib
import tempfile

import numpy as np
import torch
from torch import nn


def of(module, name, *args, **kwargs):
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

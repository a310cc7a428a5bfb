"""Conformance kits: what devices, cells, effects, encodings, layers, learning rules, … must obey.

Subclass a contract in a test file, say what is under test, and pytest does the rest::

    from mho.testing import DeviceContract

    class TestMyDevice(DeviceContract):
        def device(self):
            return MyDevice(g_min=1e-6, g_max=1e-4)

The kits need torch only; they run under pytest or any runner that calls ``test_…`` methods.
"""

from mho.testing.architecture import ArchitectureContract
from mho.testing.cells import CellsContract
from mho.testing.decomposition import DecompositionContract
from mho.testing.device import DeviceContract
from mho.testing.effect import EffectContract
from mho.testing.encoding import EncodingContract
from mho.testing.layer import LayerContract
from mho.testing.rule import LearningRuleContract

__all__ = [
    "ArchitectureContract",
    "CellsContract",
    "DecompositionContract",
    "DeviceContract",
    "EffectContract",
    "EncodingContract",
    "LayerContract",
    "LearningRuleContract",
]

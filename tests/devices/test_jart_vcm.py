"""JART VCM v1b against its published equations, solved anew by bracketing and by scipy."""

from mho.devices.jart_vcm import JARTVCM
from mho.testing import DeviceContract


class TestContract(DeviceContract):
    def device(self):
        return JARTVCM()

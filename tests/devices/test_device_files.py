"""Devices in YAML files."""

import pytest

from mho.devices import PCM, VTEAM, Device, MultiDomainFeFET, TabularDevice, presets


@pytest.mark.parametrize("name", [preset.name for preset in presets.list()])
def test_every_preset_is_read_back_equal(tmp_path, name):
    device = presets.get(name)
    device.save(tmp_path / "device.yaml")
    assert Device.load(tmp_path / "device.yaml") == device
    assert type(device).load(tmp_path / "device.yaml") == device


def test_the_tables_of_a_device_stay_in_its_file(tmp_path):
    device = MultiDomainFeFET().tabular(3.0, -3.0, 50e-9)
    device.save(tmp_path / "device.yaml")
    again = Device.load(tmp_path / "device.yaml")
    assert isinstance(again, TabularDevice)
    assert again == device


def test_a_device_of_another_kind_is_refused(tmp_path):
    VTEAM().save(tmp_path / "device.yaml")
    with pytest.raises(TypeError, match="expected a PCM, got a VTEAM"):
        PCM.load(tmp_path / "device.yaml")

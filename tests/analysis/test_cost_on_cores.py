"""The cost of a network that lies on the cores of a chip: by its mapping, worked by hand."""

import pytest
import torch
from torch import nn

import mho
from mho.analysis import ChipArchitecture, Estimate, Levels, Part, Technology, chips, cost
from mho.analysis.components import Given
from mho.chip import Cores, LayerShape, Rewriting, place
from mho_cli.app import main

DRIVER = Given("driver", energy=2e-12, area=3e-12, leakage=5e-6)
CONVERTER = Given("ADC", energy=7e-12, latency=(4e-9, 5e-9, 8e-9), area=11e-12, leakage=13e-6)
REST = Given("rest", energy=1e-12, area=17e-12, leakage=19e-6)
CHIP = ChipArchitecture(
    name="a small chip",
    parts=(
        Part("drivers", ("drivers",), DRIVER, each="row", use="drive"),
        Part("ADC", ("converters",), CONVERTER, each="converter", use="conversion"),
        Part(
            "rest",
            ("digital sums", "activations", "buffers", "interconnect", "control"),
            REST,
            each="core",
            use="read",
        ),
        Part("pads", ("interconnect",), REST, each="chip", use="inference"),
    ),
    timing=Levels(20e-9),
    rows=8,
    cols=8,
    slices_per_array=2,
    columns_per_converter=4,
    cell_area=1e-12,
    line_capacitance=1e-15,
    cores=12,
)
HARDWARE = mho.Hardware(array=mho.Array(8, 8), dac=mho.DAC(8), adc=mho.ADC(8))
AREA = 12 * (64 * 1e-12 + 8 * 3e-12 + 2 * 11e-12 + 17e-12) + 17e-12
POWER = 12 * (8 * 5e-6 + 2 * 13e-6 + 19e-6) + 19e-6


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)).eval()


X = torch.rand(4, 2, 6)


@pytest.fixture(scope="module")
def analog():
    model = mho.convert(net(), HARDWARE)
    mho.calibrate(model, X)
    return model


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


def test_cores_of_an_architecture():
    cores = CHIP.cores_for(HARDWARE)
    assert cores == Cores(12, 8, 8, 2, 20e-9, 4, 5e-9)
    serial = HARDWARE.replace(dac=mho.DAC(4, mode="bit_serial"))
    assert CHIP.cores_for(serial).read_time == close(3 * 20e-9)
    assert CHIP.cores_for(serial).conversion_time == close(3 * 5e-9)
    hermes = chips.get("hermes").cores_for(HARDWARE)
    assert (hermes.count, hermes.rows, hermes.cols, hermes.arrays) == (64, 256, 256, 2)
    # 2 · 256 · 256 operations at 1.008 TOPS.
    assert hermes.read_time == pytest.approx(2 * 256**2 / 1.008e12, rel=1e-12, abs=0)
    # A pair takes two of ISAAC's arrays: 48 of them in each of 168 tiles.
    isaac = HARDWARE.replace(dac=mho.DAC(16, mode="bit_serial"), array=mho.Array(128, 128))
    assert chips.get("isaac").cores_for(isaac).count == 168 * 48
    # Converting overlaps with driving: fifteen planes of 100 ns each.
    assert chips.get("isaac").cores_for(isaac).read_time == close(15 * 100e-9)


def test_all_of_the_chip_counts_over_the_interval(analog):
    mapping = place(analog, CHIP.cores_for(HARDWARE), "layer", inputs=X)
    found = cost(analog, X, CHIP, mapping=mapping)
    assert found.area.typical == close(AREA)
    # The convolution: 4 vectors, 6 columns by two converters, the busiest of which takes 4.
    read = 20e-9 + 4 * 5e-9
    stages = [4 * read, read]  # the linear layer's tiles lie apart: three are as quick as one
    assert len({(t.layer, t.core) for t in mapping.tiles}) == 1 + 3
    assert [x.latency.typical for x in found.layers] == [close(s) for s in stages]
    assert found.latency.typical == close(sum(stages)) == close(mapping.latency)
    assert found.interval.typical == close(max(stages))
    # Converters of 4 to 8 ns.
    assert found.interval.low == close(4 * (20e-9 + 4 * 4e-9))
    assert found.interval.high == close(4 * (20e-9 + 4 * 8e-9))
    assert found.throughput.typical == close(1 / max(stages))
    assert found.leakage.typical == close(POWER * max(stages))
    assert found.tops.typical == close(2e-12 * found.macs / max(stages))
    assert found.cores == 12
    assert found.utilisation == close(mapping.utilisation)


def test_energy_of_the_uses_is_that_without_a_mapping(analog):
    plain = cost(analog, X, CHIP)
    for policy in ("packed", "layer", "tile"):
        mapping = place(analog, CHIP.cores_for(HARDWARE), policy, inputs=X, copies="balanced")
        found = cost(analog, X, CHIP, mapping=mapping)
        assert found.dynamic.typical == close(plain.dynamic.typical)
        assert found.area.typical == close(AREA)
        assert found.leakage.typical == close(POWER * mapping.interval)
        for name in ("area", "dynamic", "leakage"):
            parts = [getattr(part, name).typical for part in found.parts]
            assert sum(parts) == close(getattr(found, name).typical)


def test_layers_on_one_core_share_it_by_their_cells(analog):
    mapping = place(analog, CHIP.cores_for(HARDWARE), "packed", inputs=X)
    on = {t.core: set() for t in mapping.tiles}
    for tile in mapping.tiles:
        on[tile.core].add(tile.layer)
    found = cost(analog, X, CHIP, mapping=mapping)
    taken = sum(layer["drivers"].instances for layer in found.layers)
    assert taken == pytest.approx(8 * len(on))
    assert found["drivers"].instances == pytest.approx(8 * 12)


def test_digital_parts_lie_and_are_driven_apart():
    hardware = HARDWARE.replace(encoding=mho.encoding.Differential(subtract="digital"))
    model = mho.convert(nn.Linear(8, 8).eval(), hardware)
    x = torch.rand(3, 8)
    chip = CHIP.replace(slices_per_array=2)
    mapping = place(model, chip.cores_for(hardware), "tile", inputs=x)
    assert mapping.cores_used == 2
    found = cost(model, x, chip, mapping=mapping).layers[0]
    assert found.drives == 16
    assert found["rest"].uses == 2
    assert found.conversions == 16


def test_writing_in_turns_counts(analog):
    chip = CHIP.replace(cores=2)
    cores = chip.cores_for(HARDWARE)
    turns = Rewriting(10, row_time=1e-6, cell_energy=1e-9)
    mapping = place(analog, cores, "tile", inputs=X, turns=turns)
    assert mapping.turns > 1
    found = cost(analog, X, chip, mapping=mapping)
    assert found["rewriting"].dynamic.typical == close(mapping.cells_written * 1e-9 / 10)
    plain = cost(analog, X, chip)
    written = found.dynamic.typical - plain.dynamic.typical
    assert written == pytest.approx(mapping.rewriting_energy, rel=1e-9, abs=0)
    assert found.interval.typical == close(mapping.interval)
    assert found.area.typical == close((AREA - 17e-12) / 6 + 17e-12)

    blind = place(analog, cores, "tile", inputs=X, turns=Rewriting(10))
    found = cost(analog, X, chip, mapping=blind)
    assert found.energy is None
    assert found.latency is None
    assert found.interval is None
    assert found.leakage is None
    assert "rewriting" in found.uncounted("energy")
    assert "rewriting" in found.uncounted("latency")[0]
    assert found.counted("interval").typical == close(blind.reading_time / 10)
    with pytest.raises(ValueError, match="no objective"):
        found.objective("energy")
    assert "rewriting" in str(found)


def test_what_does_not_belong_together_is_refused(analog):
    cores = CHIP.cores_for(HARDWARE)
    mapping = place(analog, cores, inputs=X)
    other = mho.convert(nn.Sequential(nn.Linear(6, 4)).eval(), HARDWARE)
    with pytest.raises(ValueError, match=r"of this model: it .*'3'"):
        cost(other, torch.rand(2, 6), CHIP, mapping=mapping)
    wider = nn.Sequential(nn.Conv1d(2, 7, 3), nn.ReLU(), nn.Flatten(), nn.Linear(28, 5)).eval()
    with pytest.raises(ValueError, match=r"'0' is .* 6 × 6 .*6 × 7"):
        cost(mho.convert(wider, HARDWARE), X, CHIP, mapping=mapping)
    tiles = mho.convert(net(), HARDWARE.replace(array=mho.Array(4, 8)))
    with pytest.raises(ValueError, match="of this model"):
        cost(tiles, X, CHIP, mapping=mapping)
    with pytest.raises(ValueError, match=r"read 1 times .* 4 times"):
        cost(analog, X, CHIP, mapping=place(analog, cores))
    with pytest.raises(ValueError, match="on all cores of a small chip"):
        cost(analog, X, CHIP.replace(cores=13), mapping=mapping)
    with pytest.raises(ValueError, match="these have 8 rows"):
        cost(analog, X, CHIP.replace(rows=16), mapping=mapping)
    with pytest.raises(TypeError, match="mapping"):
        cost(analog, X, CHIP, mapping=cores)


def test_layers_as_plain_shapes_are_taken(analog):
    shapes = [LayerShape("0", 6, 6, reads=4), LayerShape("3", 24, 5)]
    mapping = place(shapes, CHIP.cores_for(HARDWARE), inputs=None)
    assert cost(analog, X, CHIP, mapping=mapping).latency.typical == close(mapping.latency)


def test_times_that_are_not_the_architectures_are_said(analog):
    mapping = place(analog, CHIP.cores_for(HARDWARE), inputs=X, read_time=1e-6)
    found = cost(analog, X, CHIP, mapping=mapping)
    assert found.latency == Estimate.exact(mapping.latency)
    assert any("reads take what the mapping says" in text for text in found.assumptions)
    right = place(analog, CHIP.cores_for(HARDWARE), inputs=X)
    said = cost(analog, X, CHIP, mapping=right).assumptions
    assert not any("reads take what" in text for text in said)


def test_a_technology_says_nothing_of_cores_and_takes_any(analog):
    technology = Technology(feature_size=50e-9, columns_per_adc=4)
    cores = technology.architecture().cores_for(HARDWARE, 20)
    assert cores == Cores(20, 8, 8, 2, 10e-9, 4, 10e-9)
    mapping = place(analog, cores, inputs=X)
    found = cost(analog, X, technology, mapping=mapping)
    assert found.latency.typical == close(mapping.latency)
    # A pair lies on two arrays here.
    assert found["cells"].instances == pytest.approx(20 * 2 * 64)
    assert found["cells"].area.typical == close(20 * 2 * 64 * 4 * 50e-9**2)
    assert cost(analog, X, mapping=place(analog, Cores(20, 8, 8), inputs=X)).cores == 40


def test_cores_that_cannot_be_are_refused():
    deep = HARDWARE.replace(encoding=mho.encoding.BitSliced(bits=4, bits_per_cell=2, add="analog"))
    with pytest.raises(ValueError, match="4 arrays are joined"):
        CHIP.cores_for(deep)
    with pytest.raises(ValueError, match="give count"):
        CHIP.replace(cores=None).cores_for(HARDWARE)
    with pytest.raises(ValueError, match="count must be 12"):
        CHIP.cores_for(HARDWARE, 13)
    with pytest.raises(ValueError, match="it has no ADC"):
        CHIP.cores_for(HARDWARE.replace(adc=None))
    assert CHIP.cores_for(HARDWARE.replace(adc=None), read_time=1e-6).read_time == 1e-6
    with pytest.raises(ValueError, match="8 bits"):
        chips.get("hermes").cores_for(HARDWARE.replace(dac=mho.DAC(4)))
    with pytest.raises(ValueError, match="'rewriting'"):
        Part("rewriting", ("control",), REST)


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network_on_cores.py").write_text(
        "import torch\nfrom torch import nn\n\ndef task():\n    x = torch.rand(20, 12)\n"
        "    return nn.Linear(12, 6), x, torch.zeros(20, dtype=torch.int64), x\n"
    )
    run = ["cost", "pcm_hermes_1", "--model", "network_on_cores:task"]
    assert main([*run, "--chip", "hermes", "--policy", "layer", "--copies"]) == 0
    said = capsys.readouterr().out
    assert "policy 'layer'" in said
    assert "64 cores of 1 chip" in said
    assert "inferences/s" in said
    assert main([*run, "--policy", "layer"]) == 1
    assert "how many cores" in capsys.readouterr().err
    assert main([*run, "--policy", "packed", "--cores", "4"]) == 0
    assert main([*run, "--cores", "4"]) == 1
    assert "--policy" in capsys.readouterr().err

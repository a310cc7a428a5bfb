"""What is said before converting, against what then is there."""

import warnings

import pytest
import torch
from torch import nn

import mho
from mho.core import memory
from mho.model import pace, sizes


class Net(nn.Module):
    def __init__(self, tied=True):
        super().__init__()
        self.table = nn.Embedding(50, 24)
        self.conv = nn.Conv1d(24, 24, 3, padding=1, groups=2)
        self.lstm = nn.LSTM(24, 24, batch_first=True)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 50, bias=False)
        self.w = nn.Parameter(torch.randn(24, 24))
        if tied:
            self.head.weight = self.table.weight

    def forward(self, x):
        x = self.table(x)
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.head(self.norm(self.lstm(x)[0] @ self.w))


HARDWARE = {
    "plain": mho.Hardware(),
    "small tiles": mho.Hardware(array=mho.Array(16, 8), adc=mho.ADC(8)),
    "slices": mho.Hardware(
        array=mho.Array(32, 32, interleaved=True),
        encoding=mho.encoding.BitSliced(bits=8, bits_per_cell=2),
    ),
    "one column": mho.Hardware(encoding=mho.encoding.SingleColumn(), adc=mho.ADC(8)),
    "bias": mho.Hardware(bias="array"),
}


@pytest.mark.parametrize("embeddings", [False, True])
@pytest.mark.parametrize("hardware", HARDWARE.values(), ids=HARDWARE)
def test_tiles_and_cells_are_those_of_the_converted_model(hardware, embeddings):
    model = Net()
    estimate = mho.estimate(model, hardware, embeddings=embeddings, times=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        summary = mho.summary(mho.convert(model, hardware, embeddings=embeddings))
    found = {c.name: (c.rows, c.cols, c.groups, c.tiles, c.cells) for c in estimate.crossbars}
    wanted = {c.name: (c.rows, c.cols, c.groups, c.tiles, c.cells) for c in summary.layers}
    assert found == wanted
    assert (estimate.tiles, estimate.cells) == (summary.tiles, summary.cells)


def test_vectors_are_those_that_a_crossbar_is_given():
    estimate = mho.estimate(Net(), mho.Hardware(), torch.randint(50, (2, 7)), times=False)
    vectors = {c.name: c.vectors for c in estimate.crossbars}
    assert vectors["conv"] == vectors["head"] == 14
    assert {v for n, v in vectors.items() if "lstm" in n} == {14}
    assert [p.name for p in estimate.products] == ["w"]
    assert estimate.of_macs - estimate.macs == 14 * 24 * 24


def test_memory_is_that_of_the_tensors():
    model = nn.Sequential(nn.Linear(200, 300), nn.Linear(300, 100))
    estimate = mho.estimate(model, mho.Hardware(adc=mho.ADC(8)), times=False)
    analog = mho.convert(model, mho.Hardware(adc=mho.ADC(8))).eval()
    held = [*analog.parameters(), *analog.buffers()]
    held += [c.reader.stored.matrix for c in mho.crossbars(analog).values()]
    there = sum(t.numel() * t.element_size() for t in held)
    assert estimate.model == sum(p.numel() * 4 for p in model.parameters())
    assert estimate.converted == pytest.approx(there, rel=0.05)


def test_a_model_of_no_memory():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(100_000, 100_000), nn.ReLU(), nn.Linear(100_000, 10))
    x = torch.empty(4, 100_000, device="meta")
    estimate = mho.estimate(model, mho.Hardware(adc=mho.ADC(8)), x)
    assert estimate.cells == 2 * 100_000 * 100_010
    assert estimate.converted > 1e11
    assert estimate.available is None
    assert estimate.fits is None
    times = (estimate.convert, estimate.program, estimate.read, estimate.step)
    assert all(t is not None and t > 0 for t in times)
    assert estimate.training > estimate.converted
    assert estimate.reading >= estimate.converted
    text = str(estimate)
    assert "total" in text
    assert "training step" in text


def test_without_inputs_or_times():
    text = str(mho.estimate(Net(), mho.Hardware(), times=False))
    assert "what needs inputs" in text
    estimate = mho.estimate(Net(), mho.Hardware(), torch.zeros(2).long(), times=False)  # no rows
    assert estimate.untraced
    assert estimate.read is None


def test_the_model_and_the_randomness_are_left_alone():
    model, state = Net().train(), torch.get_rng_state()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    mho.estimate(model, mho.Hardware(), torch.zeros(2, 7, dtype=torch.long))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_what_convert_refuses_is_refused():
    with pytest.raises(ValueError, match="no layer"):
        mho.estimate(nn.ReLU(), mho.Hardware())
    with pytest.raises(TypeError, match="hardware"):
        mho.estimate(Net(), "chip")
    with pytest.raises(ValueError, match="matches no module"):
        mho.estimate(Net(), mho.Hardware(), only="nothing")


def test_too_large_is_refused_with_the_numbers(monkeypatch):
    monkeypatch.setattr(memory, "CHECKED_FROM", 0)
    monkeypatch.setattr(memory, "available", lambda device: 50_000)
    model = nn.Linear(100, 100, bias=False)
    with pytest.raises(MemoryError, match=r"needs 160 kB on cpu, and 50 kB are available"):
        mho.convert(model, mho.Hardware())
    assert mho.estimate(model, mho.Hardware(), times=False).converted == 160_000
    assert mho.convert(model, mho.Hardware(), check_memory=False).crossbar.rows == 100
    monkeypatch.setattr(memory, "available", lambda device: None)  # nobody knows
    mho.convert(model, mho.Hardware())


def test_available_memory_is_a_number_of_this_machine():
    there = memory.available("cpu")
    assert there is None or 1e6 < there < 1e15
    assert memory.available("meta") is None


@pytest.mark.parametrize("cells_dtype", [None, torch.float16])
@pytest.mark.parametrize(
    ("kind", "hardware"),
    [
        (torch.float64, mho.Hardware()),
        (torch.bfloat16, mho.Hardware(adc=mho.ADC(8))),
        (torch.float32, mho.Hardware(device=mho.devices.PCM())),
        (torch.float32, mho.Hardware(effects=(mho.effects.StuckAt(0.1, 0.1),))),
        (torch.float32, mho.Hardware(effects=(mho.effects.PowerLawDrift(0.1, 0.02),))),
        (torch.float32, mho.Hardware(encoding=mho.encoding.BitSliced(), adc=mho.ADC(8))),
    ],
)
def test_memory_of_every_cell_is_counted(kind, hardware, cells_dtype):
    model = nn.Linear(300, 200, bias=False).to(kind)
    analog = mho.convert(model, hardware, cells_dtype=cells_dtype).eval()
    stored = analog.crossbar.reader.stored
    held = [*analog.parameters(), *analog.buffers(), stored.matrix, stored.noise]
    there = sum(t.numel() * t.element_size() for t in held if isinstance(t, torch.Tensor))
    found = mho.estimate(model, hardware, cells_dtype=cells_dtype, times=False)
    assert found.converted == pytest.approx(there, rel=0.05)


def test_the_refusal_knows_how_cells_are_kept(monkeypatch):
    monkeypatch.setattr(memory, "CHECKED_FROM", 0)
    monkeypatch.setattr(memory, "available", lambda device: 130_000)
    model = nn.Linear(100, 100, bias=False)
    with pytest.raises(MemoryError, match="needs 160 kB"):
        mho.convert(model, mho.Hardware())
    half = mho.convert(model, mho.Hardware(), cells_dtype=torch.float16)  # 120 kB
    assert half.crossbar.kept_as is torch.float16
    with pytest.raises(MemoryError, match="needs 320 kB"):
        mho.convert(model.double(), mho.Hardware())


def test_memory_where_cells_fail_to_program(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("cells failed")

    monkeypatch.setattr(sizes.Crossbar, "program", fails)
    found = mho.estimate(nn.Linear(100, 100, bias=False), mho.Hardware(), times=False)
    assert found.converted == 160_000
    assert found.reckoned == ("memory of cells by formula, as a sample of them fails: ",)
    monkeypatch.undo()
    assert not mho.estimate(nn.Linear(100, 100), mho.Hardware(), times=False).reckoned


def test_what_was_not_measured_is_said():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)).to("meta")
    printed = str(mho.estimate(model, mho.Hardware(), torch.empty(2, 3, 8, 8, device="meta")))
    assert "times by formula, from a linear layer's: Conv2d" in printed
    assert "times by formula, from torch's products: what stays digital" in printed
    assert "times are those of the CPU" in printed
    assert "by formula" not in str(mho.estimate(nn.Linear(4, 5), mho.Hardware()))


def test_times_are_split_into_what_is_counted():
    counts = [(1.0, 64.0, 16.0), (1.0, 1e6, 8e4), (1.0, 2e7, 1e5)]
    parts = (2e-5, 3e-9, 4e-8)
    taken = [sum(n * t for n, t in zip(row, parts, strict=True)) for row in counts]
    assert pace._shares(counts, taken) == pytest.approx(parts, rel=1e-3)
    counts, taken = [(1.0, 64.0), (1.0, 1e6)], [3e-5, 2e-5]  # the larger was quicker
    assert pace._shares(counts, taken) == pytest.approx((3e-5, 0.0))

"""Low-rank adapters over layers on crossbars: training them, merging them, in both orders."""

import copy
import pickle
import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import mho
from mho.effects import PowerLawDrift, WriteNoise
from mho.nn import adapters

peft = pytest.importorskip("peft")

HARDWARE = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8), effects=(WriteNoise(0.05),))
quiet = pytest.mark.filterwarnings("ignore:left digital", "ignore::UserWarning:peft")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 12)
        self.q = nn.Linear(12, 12)
        self.v = nn.Linear(12, 12, bias=False)
        self.conv = nn.Conv1d(12, 12, 3, padding=1)
        self.head = nn.Linear(12, 11)

    def forward(self, x):
        x = self.table(x)
        x = torch.relu(self.q(x)) + self.v(x)
        return self.head(self.conv(x.transpose(1, 2)).transpose(1, 2))


INDEX = torch.arange(20).reshape(4, 5) % 11


def adapted(targets=("q", "v"), **settings):
    torch.manual_seed(0)
    config = peft.LoraConfig(target_modules=list(targets), r=2, init_lora_weights=False, **settings)
    return peft.get_peft_model(Net(), config).eval()


@quiet
@pytest.mark.parametrize("targets", [("q", "v"), ("q", "v", "conv", "table")])
@pytest.mark.parametrize("dora", [False, True])
def test_a_peft_model_converts_and_its_adapters_stay_digital(targets, dora):
    model = adapted(targets, use_dora=dora)
    analog = mho.convert(model, mho.Hardware(), embeddings=True)
    found = mho.layers(analog)
    assert not any("lora_" in name for name in found)
    assert {n.split(".")[2] for n in found} == {"table", "q", "v", "conv", "head"}
    with torch.no_grad():
        assert torch.allclose(analog(INDEX), model(INDEX), atol=1e-5)
    trained = {n for n, p in analog.named_parameters() if p.requires_grad}
    assert trained == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trained)


def test_the_report_says_so():
    with pytest.warns(UserWarning, match=r"4 Linear: .*an adapter; on crossbars where only="):
        mho.convert(adapted(), HARDWARE)


@quiet
def test_adapters_in_cells_by_option():
    analog = mho.convert(adapted(), HARDWARE, only="*.q.*")
    names = ["base_layer", "lora_A.default", "lora_B.default"]
    assert list(mho.layers(analog)) == [f"base_model.model.q.{name}" for name in names]


@quiet
@pytest.mark.parametrize("targets", [("q", "v"), ("q", "v", "conv", "table")])
@pytest.mark.parametrize("dora", [False, True])
def test_merging_writes_the_cells_and_unmerging_too(targets, dora):
    model = adapted(targets, use_dora=dora)
    analog = mho.convert(model, mho.Hardware(), embeddings=True)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*mho.program.*")
        wanted = copy.deepcopy(model).merge_and_unload()(INDEX)
        analog.merge_adapter()
        assert torch.allclose(analog(INDEX), wanted, atol=1e-5)
        assert int(analog.base_model.model.q.base_layer.crossbar.writes.max()) == 2
        assert int(analog.base_model.model.head.crossbar.writes.max()) == 1
        analog.unmerge_adapter()
        assert torch.allclose(analog(INDEX), model(INDEX), atol=1e-5)
        merged = analog.merge_and_unload().eval()
        assert torch.allclose(merged(INDEX), wanted, atol=1e-5)
    assert type(merged.q) is mho.nn.Linear


@quiet
def test_copies_pickles_checkpoints_and_collapse():
    model = adapted()
    analog = mho.convert(model, HARDWARE)
    y = analog(INDEX)
    for twin in (copy.deepcopy(analog), pickle.loads(pickle.dumps(analog))):
        assert torch.equal(twin(INDEX), y)
        twin.merge_adapter()  # writes its own cells
    assert torch.equal(analog(INDEX), y)
    other = mho.convert(adapted(), HARDWARE, seed=3)
    other.load_state_dict(analog.state_dict())
    assert torch.equal(other(INDEX), y)
    ideal = mho.convert(model, mho.Hardware())
    plain = mho.collapse(ideal)
    assert torch.allclose(plain(INDEX), model(INDEX), atol=1e-5)
    plain.merge_and_unload()  # no cells to write: as peft does
    again = mho.convert(analog, mho.Hardware())
    assert torch.allclose(again(INDEX), model(INDEX), atol=1e-5)


def _tuned(targets=("q", "v", "table")):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hardware = HARDWARE.replace(effects=(WriteNoise(0.05), PowerLawDrift(0.05)))
        chip = mho.convert(Net(), hardware, embeddings=True)
        mho.calibrate(chip, INDEX)
        mho.age(chip, 1e4)
        mho.freeze(chip)
        config = peft.LoraConfig(target_modules=list(targets), r=2)
        return peft.get_peft_model(chip, adapters.know_crossbars(config))


def test_adapters_are_trained_for_a_chip_as_it_is():
    tuned = _tuned().train()
    held = {n: c.G.clone() for n, c in mho.crossbars(tuned).items()}
    assert torch.equal(tuned(INDEX), tuned(INDEX))  # what is stored, and no chip newly drawn
    assert torch.equal(tuned(INDEX), tuned.eval()(INDEX))
    tuned.train()
    trained = {n: p for n, p in tuned.named_parameters() if p.requires_grad}
    assert len(trained) == 6
    assert all("lora_" in name for name in trained)
    optimizer = torch.optim.Adam(trained.values(), lr=1e-2)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(tuned(INDEX).flatten(0, 1), INDEX.flatten())
        loss.backward()
        assert all(p.grad is not None for p in trained.values())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(float(p.grad.abs().sum()) > 0 for p in trained.values())
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(c.G, held[n]) for n, c in mho.crossbars(tuned).items())


def test_gradients_of_adapters_are_those_through_the_stored_matrix():
    tuned = _tuned(("q",)).train()
    layer = tuned.base_model.model.q
    base = layer.base_layer
    x = torch.randn(3, 12, requires_grad=True)
    layer(x).square().sum().backward()
    stored = mho.collapse(base).weight  # as stored, without converters
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        error = 2 * layer(x)
        scaling = layer.scaling["default"]
        assert torch.allclose(b.grad, scaling * error.T @ (x @ a.T), atol=1e-5)
        assert torch.allclose(x.grad, error @ (stored + scaling * b @ a), rtol=0.05, atol=0.05)


def test_merging_over_a_converted_model():
    tuned = _tuned(("q", "v"))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    wanted = tuned.base_model.model.q.base_layer.weight + tuned.base_model.model.q.get_delta_weight(
        "default"
    )
    merged = tuned.merge_and_unload()
    assert type(merged.q) is mho.nn.Linear
    assert torch.allclose(merged.q.weight, wanted)
    assert torch.allclose(merged.q.crossbar.weight.T, wanted, atol=0.3)


def test_what_is_no_config_is_refused():
    with pytest.raises(TypeError, match=r"must be a peft.LoraConfig, got dict"):
        adapters.know_crossbars({})


def test_freeze_and_unfreeze():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    analog = mho.convert(model, HARDWARE)
    mho.freeze(analog, only="0")
    analog.train()
    assert (analog[0].training, analog[1].training) == (False, True)
    assert not analog[0].weight.requires_grad
    x = torch.randn(3, 4, requires_grad=True)
    analog(x).sum().backward()
    assert analog[0].weight.grad is None
    assert float(x.grad.abs().sum()) > 0
    assert not copy.deepcopy(analog).train()[0].training
    mho.unfreeze(analog)
    assert analog[0].training
    assert analog[0].weight.requires_grad
    with pytest.raises(ValueError, match="matches no module"):
        mho.freeze(analog, only="7")
    with pytest.raises(ValueError, match="no crossbar layers"):
        mho.freeze(model)


def test_peft_is_imported_by_one_module_alone():
    source = Path(mho.__file__).parent
    using = [
        p for p in source.rglob("*.py") if re.search(r"(?m)^\s*(from|import) peft", p.read_text())
    ]
    assert using == [source / "nn" / "lora.py"]
    importing = [p.name for p in source.rglob("*.py") if "nn.lora" in p.read_text()]
    assert importing == ["adapters.py"]  # at use

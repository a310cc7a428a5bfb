"""A torch model in, the same model on crossbars out."""

import copy
import sys
import types
import warnings

import pytest
import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.nn.base import AnalogLayer

IDEAL = Hardware()
NOISY = Hardware(
    array=Array(8, 8),
    dac=DAC(8),
    adc=ADC(8),
    effects=(StuckAt(0.02, 0.02), WriteNoise(0.02), PowerLawDrift(0.05, 0.01), ReadNoise(0.01)),
)
quiet = pytest.mark.filterwarnings("ignore:left digital")


def mlp():
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 4)
    )


def crossbars(model):
    return {name for name, module in model.named_modules() if isinstance(module, AnalogLayer)}


def same(model, analog, *inputs, **keywords):
    with torch.no_grad():
        return torch.allclose(model(*inputs, **keywords), analog(*inputs, **keywords), atol=1e-5)


# ── any module tree ──────────────────────────────────────────────────────────────────────────


class Tree(nn.Module):
    """Nested, listed, shared and tied."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Module()
        self.inner.first = nn.Linear(6, 6)
        self.items = nn.ModuleList([nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6))])
        self.table = nn.ModuleDict({"a": nn.Linear(6, 6)})
        self.shared = self.items[0]
        self.tied = nn.Linear(6, 6)
        self.tied.weight = self.inner.first.weight
        self.scale = nn.Parameter(torch.ones(6))
        self.alias = [self.tied]  # a plain list is part of the object, too

    def forward(self, x):
        x = torch.tanh(self.inner.first(x))
        for item in self.items:
            x = torch.tanh(item(x))
        return self.scale * self.alias[0](self.shared(self.table["a"](x)))


@quiet
def test_any_tree():
    model = Tree().eval()
    analog = mho.convert(model, IDEAL)
    names = {"inner.first", "items.0", "items.1.0", "table.a", "tied"}
    assert crossbars(analog) == names
    assert analog.shared is analog.items[0]
    assert analog.alias[0] is analog.tied
    assert analog.tied.weight is analog.inner.first.weight
    assert analog.tied.crossbar is analog.inner.first.crossbar  # one Parameter, one population
    assert not analog.training
    assert same(model, analog, torch.randn(5, 6))


@quiet
def test_given_model_is_untouched():
    model = Tree()
    before = copy.deepcopy(model.state_dict())
    parts = {name: id(module) for name, module in model.named_modules()}
    analog = mho.convert(model, NOISY)
    analog(torch.randn(5, 6)).sum().backward()
    mho.program(analog)
    mho.age(analog, 10.0)
    assert {name: id(module) for name, module in model.named_modules()} == parts
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert {p.data_ptr() for p in model.parameters()}.isdisjoint(
        p.data_ptr() for p in analog.parameters()
    )


def test_a_single_layer_is_a_model():
    layer = nn.Linear(6, 3)
    analog = mho.convert(layer, IDEAL)
    assert type(analog) is mho.nn.Linear
    assert same(layer, analog, torch.randn(2, 6))


def test_frozen_weights_stay_frozen():
    model = mlp()
    model[0].weight.requires_grad_(False)
    analog = mho.convert(model, IDEAL)
    assert not analog[0].weight.requires_grad
    assert analog[0].bias.requires_grad


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Renamed(nn.Linear):
    """A subclass that computes what its base does."""


def test_subclasses_with_their_own_forward_stay_digital():
    model = nn.Sequential(Doubled(6, 6), Renamed(6, 6)).eval()
    with pytest.warns(UserWarning, match=r"left digital: Doubled '0' \("):
        analog = mho.convert(model, IDEAL)
    assert type(analog[0]) is Doubled
    assert crossbars(analog) == {"1"}
    assert same(model, analog, torch.randn(3, 6))


def test_only_skip_and_predicates():
    model = Tree()

    def converted(**choice):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return crossbars(mho.convert(model, IDEAL, **choice))

    assert converted(only="items.*") == {"items.0", "items.1.0"}
    assert converted(only=["inner.*", "tied"]) == {"inner.first", "tied"}
    assert converted(skip=("items.*", "table.*")) == {"inner.first", "tied"}
    assert converted(only=nn.Linear, skip="tied") == converted() - {"tied"}
    assert converted(only=lambda name, module: name.endswith("0")) == {"items.0", "items.1.0"}
    assert converted(overrides={"tied": None}) == converted() - {"tied"}


def test_selection_by_class():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert crossbars(mho.convert(cnn(), IDEAL, only=nn.Conv2d)) == {"0"}
        assert crossbars(mho.convert(cnn(), IDEAL, skip=nn.Conv2d)) == {"4"}


def test_overrides_give_layers_their_own_hardware():
    other = Hardware(adc=ADC(4))
    analog = mho.convert(mlp(), IDEAL, overrides={"2": other})
    assert analog[0].hardware == IDEAL
    assert analog[2].hardware == other


@pytest.mark.parametrize(
    ("model", "choice", "error", "word"),
    [
        (nn.Sequential(nn.ReLU()), {}, ValueError, "no layer"),
        (nn.Sequential(), {}, ValueError, "no layer"),
        (mlp(), {"skip": nn.Linear}, ValueError, "no layer"),
        (mlp(), {"only": "layer1"}, ValueError, "layer1"),
        (mlp(), {"skip": "layer1"}, ValueError, "layer1"),
        (mlp(), {"overrides": {"layer1": IDEAL}}, ValueError, "layer1"),
        (mlp(), {"overrides": {"0": "better"}}, TypeError, "'0'"),
        (mlp(), {"only": 3}, TypeError, "selector"),
        (mlp(), {"seed": -1}, ValueError, "seed"),
        (mlp(), {"seed": 1.5}, TypeError, "seed"),
        (mlp(), {"hardware": None}, TypeError, "hardware"),
        (torch.zeros(3), {}, TypeError, "model"),
        (nn.Sequential(nn.LazyLinear(3)), {}, ValueError, "Lazy"),
    ],
)
def test_wrong_arguments_are_refused(model, choice, error, word):
    with pytest.raises(error, match=word):
        mho.convert(**{"model": model, "hardware": IDEAL, **choice})


def test_nan_weights_are_refused_at_conversion():
    model = mlp()
    with torch.no_grad():
        model[2].weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        mho.convert(model, IDEAL)


class Metric(nn.Module):
    """A layer with a matrix that nothing on crossbars stands for."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(8))

    def forward(self, x):
        return x @ self.weight


def test_what_stays_digital_is_named():
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8), Metric(), nn.ReLU())
    with pytest.warns(UserWarning, match="left digital") as caught:
        analog = mho.convert(model, IDEAL, skip="2")
    text = str(caught[0].message)
    digital = {item.name: item for item in mho.summary(analog).digital}
    assert set(digital) == {"1", "2", "3"}
    assert digital["2"].reason == "not selected"
    assert digital["1"].parameters == 16
    assert all(name in text for name in ("LayerNorm", "Metric", "not selected"))
    assert "ReLU" not in text


def test_nothing_left_nothing_warned(recwarn):
    mho.convert(mlp(), IDEAL)
    assert not recwarn.list


# ── attention: torch's fused kernels read weights by themselves ──────────────────────────────


class OwnAttention(nn.MultiheadAttention):
    def forward(self, query, key, value):
        return super().forward(value, key, query)


@quiet
@pytest.mark.parametrize("kind", [OwnAttention, nn.MultiheadAttention])
def test_attention_is_left_whole(kind):
    """Its output projection is no layer by itself: attention reads the weight, not the layer."""
    model = nn.Sequential(nn.Linear(8, 8), kind(8, 2))
    only = nn.Linear if kind is nn.MultiheadAttention else None
    analog = mho.convert(model, IDEAL, only=only)
    assert crossbars(analog) == {"0"}
    assert mho.summary(analog).digital[0].kind == kind.__name__
    assert mho.summary(analog).digital[0].parameters == 4 * 8 * 8 + 4 * 8


@pytest.mark.skipif(not hasattr(nn, "LinearCrossEntropyLoss"), reason="not in this torch")
@quiet
def test_a_loss_that_reads_a_child_s_weight_stays_digital():
    model = nn.ModuleDict({"body": nn.Linear(8, 8), "loss": nn.LinearCrossEntropyLoss(8, 5)})
    analog = mho.convert(model, IDEAL)
    assert crossbars(analog) == {"body"}
    assert [(d.name, d.parameters) for d in mho.summary(analog).digital] == [("loss", 40)]


def test_a_window_attention_of_torchvision_stays_digital(monkeypatch):
    """As torchvision's, it gives the weights of its linear layers to a function."""

    class ShiftedWindowAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(8, 24)

        def forward(self, x):
            return nn.functional.linear(x, self.qkv.weight)

    home = types.ModuleType("torchvision.models.swin_transformer")
    home.ShiftedWindowAttention = ShiftedWindowAttention
    monkeypatch.setitem(sys.modules, home.__name__, home)
    model = nn.Sequential(nn.Linear(8, 8), ShiftedWindowAttention())
    with pytest.warns(UserWarning, match="ShiftedWindowAttention"):
        assert crossbars(mho.convert(model, IDEAL)) == {"0"}


def zeroed(analog):
    """Empty every array: what still comes out has bypassed the crossbars."""
    for layer in mho.layers(analog).values():
        for crossbar in layer.crossbars.values():
            crossbar.store(torch.full_like(crossbar.G, 5e-5))
    return analog


@quiet
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_layers_read_their_crossbars_in_eval(norm_first):
    kind = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
    model = nn.TransformerEncoderLayer(8, 2, 16, **kind).eval()
    analog = mho.convert(model, IDEAL)
    x = torch.randn(3, 5, 8)
    assert crossbars(analog) == {"self_attn", "self_attn.out_proj", "linear1", "linear2"}
    assert same(model, analog, x)
    with torch.no_grad():
        y = zeroed(analog)(x)
        reference = copy.deepcopy(model)
        for name in ("linear1", "linear2"):
            getattr(reference, name).weight.zero_()
        reference.self_attn.in_proj_weight.zero_()
        reference.self_attn.out_proj.weight.zero_()
        wanted = reference.train()(x)  # train mode takes the plain Python path
    assert torch.allclose(y, wanted, atol=1e-5)


@quiet
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
@pytest.mark.parametrize("masked", [False, True])
def test_transformer_encoder_in_eval(masked):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    analog = mho.convert(model, IDEAL)
    x, keywords = torch.randn(3, 5, 8), {}
    padding = torch.zeros(3, 5, dtype=torch.bool)
    if masked:
        padding[1, 3:] = True
        keywords = {"src_key_padding_mask": padding}
    with torch.no_grad():
        found, wanted = analog(x, **keywords), model(x, **keywords)
        assert torch.allclose(found[~padding], wanted[~padding], atol=1e-5)
        assert not torch.allclose(zeroed(analog)(x, **keywords)[~padding], wanted[~padding])


@quiet
def test_transformer_decoder_in_eval():
    model = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    analog = mho.convert(model, IDEAL)
    assert same(model, analog, torch.randn(2, 4, 8), torch.randn(2, 6, 8))


# ── training ─────────────────────────────────────────────────────────────────────────────────


def blobs(n=200):
    source = torch.Generator().manual_seed(1)
    labels = torch.randint(4, (n,), generator=source)
    centres = 2 * torch.randn(4, 12, generator=source)
    return centres[labels] + torch.randn(n, 12, generator=source), labels


def test_training_learns_through_the_hardware():
    x, labels = blobs()
    analog = mho.convert(mlp(), NOISY, seed=0).train()
    optimizer = torch.optim.SGD(analog.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(analog(x), labels).backward()
        optimizer.step()
    mho.program(analog)
    analog.eval()
    assert float((analog(x).argmax(1) == labels).float().mean()) > 0.9


def test_stale_weights_are_mentioned_once():
    analog = mho.convert(mlp(), IDEAL).eval()
    x = torch.randn(3, 12)
    before = analog(x)
    with torch.no_grad():
        analog[0].weight.mul_(2.0)
    with pytest.warns(UserWarning, match="mho.program"):
        found = analog(x)
    assert torch.equal(found, before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        analog(x)
    mho.program(analog)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not torch.equal(analog(x), before)
    with torch.no_grad():
        analog[0].weight.mul_(2.0)
    with pytest.warns(UserWarning, match="mho.program"):
        analog(x)


def test_nothing_is_stale_after_loading_moving_or_copying(recwarn):
    model = mlp()
    model[2] = nn.Linear(16, 16)
    model.append(nn.Linear(16, 16))
    model[3].weight = model[2].weight
    analog = mho.convert(model, IDEAL).eval()
    x = torch.randn(3, 12)
    analog.load_state_dict(analog.state_dict())
    analog(x)
    copy.deepcopy(analog)(x)
    analog.to(torch.float64)(x.double())
    assert not recwarn.list


def test_weights_alone_from_a_checkpoint_are_stale():
    analog = mho.convert(mlp(), IDEAL).eval()
    other = mlp()
    analog.load_state_dict(other.state_dict(), strict=False)
    with pytest.warns(UserWarning, match="mho.program"):
        analog(torch.randn(3, 12))
    mho.program(analog)
    assert same(other.eval(), analog, torch.randn(3, 12))


def test_program_refuses_nan_and_writes_nothing():
    analog = mho.convert(mlp(), IDEAL)
    before = {n: c.G.clone() for n, c in analog.named_modules() if isinstance(c, mho.Crossbar)}
    with torch.no_grad():
        analog[0].weight.add_(1.0)
        analog[2].weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match="2"):
        mho.program(analog)
    for name, module in analog.named_modules():
        if isinstance(module, mho.Crossbar):
            assert torch.equal(module.G, before[name])


def test_program_age_fabricate_need_crossbars():
    for action in (mho.program, mho.collapse, lambda m: mho.age(m, 1.0)):
        with pytest.raises(ValueError, match="no crossbar"):
            action(mlp())
    with pytest.raises(ValueError, match="seconds"):
        mho.age(mho.convert(mlp(), IDEAL), -1.0)


# ── collapse ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize("model", [mlp, cnn])
def test_collapse_is_a_plain_model_with_the_stored_weights(model, bias):
    effects = (StuckAt(0.05, 0.05), WriteNoise(0.05), PowerLawDrift(0.1, 0.05))
    analog = mho.convert(model().eval(), Hardware(effects=effects, bias=bias))
    x = torch.randn(5, 12) if model is mlp else torch.randn(5, 1, 8, 8)
    mho.age(analog, 1e3)
    mho.calibrate(analog, x)
    plain = mho.collapse(analog)
    assert not any(type(m).__module__.startswith("mho") for m in plain.modules())
    assert torch.allclose(plain(x), analog(x), atol=1e-5)
    plain.load_state_dict(plain.state_dict())
    mho.collapse(analog)[0].weight.data.zero_()  # nothing is shared
    assert torch.allclose(plain(x), analog(x), atol=1e-5)


@quiet
def test_converted_models_can_be_converted_again():
    analog = mho.convert(mlp(), IDEAL, only="0")
    both = mho.convert(analog, NOISY, only="2")
    assert both[0].hardware == IDEAL
    assert both[2].hardware == NOISY
    assert both[0] is not analog[0]

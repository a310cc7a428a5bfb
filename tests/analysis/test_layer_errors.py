"""Errors by layer and stage, against products and models worked out by hand."""

import copy
import math
from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
import torch

import mho
from mho.analysis import layers
from mho.analysis.layer_errors import LayerError, LayerErrors


def mlp(*sizes):
    torch.manual_seed(1)
    parts = []
    for rows, cols in pairwise(sizes):
        parts += [torch.nn.Linear(rows, cols), torch.nn.ReLU()]
    return torch.nn.Sequential(*parts[:-1]).eval()


def relative(y, exact):
    return float((y - exact).double().norm() / exact.double().norm())


def drawn(count, size, seed=0):
    return torch.rand(count, size, generator=torch.Generator().manual_seed(seed))


ALL = mho.Hardware(
    array=mho.Array(rows=16, cols=8, wires=mho.circuit.Wires(word=2.0, bit=2.0)),
    dac=mho.DAC(bits=6),
    adc=mho.ADC(bits=6),
    amplifier=mho.Amplifier(gain=0.97),
    effects=(
        mho.effects.StuckAt(low=0.02, high=0.02),
        mho.effects.WriteNoise(sigma=0.02),
        mho.effects.PowerLawDrift(nu=0.06, nu_spread=0.02, t0=1.0),
        mho.effects.ReadNoise(sigma=0.01),
    ),
)


def test_errors_of_writing_are_all_there_is_where_there_is_nothing_else():
    model, x = mlp(20, 8), drawn(50, 20)
    analog = mho.convert(model, mho.Hardware(effects=(mho.effects.WriteNoise(sigma=0.05),)))
    found = layers(analog, x)["0"]
    w = model[0].weight.T.detach()
    stored = mho.crossbars(analog)["0"].weight
    assert found.own == pytest.approx(relative(x @ stored, x @ w), rel=1e-4)
    assert found.added["programming"] == pytest.approx(found.own, rel=1e-4)
    assert found.shares["programming"] == pytest.approx(1.0, abs=1e-4)
    assert (found.cause, found.arriving) == ("programming", 0.0)


def test_shares_of_all_stages_sum_to_one():
    analog, x = mho.convert(mlp(20, 12, 6), ALL, seed=3), drawn(60, 20)
    mho.calibrate(analog, x)
    mho.age(analog, 1000.0)
    found = layers(analog, x)
    assert len(found.causes) == 11  # all but read effects and conduction
    for layer in found.layers:
        assert sum(layer.shares.values()) == pytest.approx(1.0)


def test_the_own_error_is_that_of_the_crossbar():
    quiet = ALL.replace(effects=ALL.effects[:-1])
    model, x = mlp(20, 12), drawn(60, 20)
    analog = mho.convert(model, quiet, seed=3)
    mho.calibrate(analog, x)
    mho.age(analog, 1000.0)
    exact, bias = x @ model[0].weight.T, model[0].bias
    found = layers(analog, x)
    assert found["0"].own == pytest.approx(relative(analog(x) - bias, exact), rel=1e-4)
    assert found.outputs == pytest.approx(relative(analog(x), model(x)), rel=1e-4)


def test_clipping_is_told_from_rounding():
    model, x = mlp(20, 8), drawn(400, 20)
    w = model[0].weight.T.detach()
    coarse = mho.Hardware(adc=mho.ADC(bits=24, percentile=80.0))
    analog = mho.convert(model, coarse)
    mho.calibrate(analog, x, correct=False)
    found = layers(analog, x)["0"]
    limit = float((analog(x) - model[0].bias).abs().max())
    clipped = (x @ w).clamp(-limit, limit)
    assert found.own == pytest.approx(relative(clipped, x @ w), rel=1e-3)
    assert found.added["ADC range"] == pytest.approx(found.own, rel=1e-3)
    assert found.added["ADC codes"] < 1e-5
    assert found.cause == "ADC range"


@pytest.mark.parametrize("bits", [4, 6])
def test_rounding_is_that_of_a_grid(bits):
    model, x = mlp(20, 8), drawn(400, 20)
    analog = mho.convert(model, mho.Hardware(adc=mho.ADC(bits=bits, percentile=100.0)))
    mho.calibrate(analog, x, correct=False)
    found = layers(analog, x)["0"]
    y = x @ model[0].weight.T
    step = float(y.abs().max()) / (2 ** (bits - 1) - 1)
    assert found.added["ADC range"] < 1e-5
    assert found.added["ADC codes"] == pytest.approx(
        relative((y / step).round() * step, y), rel=0.1
    )


def test_inputs_are_converted_as_by_hand():
    model, x = mlp(20, 8), drawn(100, 20)
    analog = mho.convert(model, mho.Hardware(dac=mho.DAC(bits=4, range=1.0, signed=False)))
    w, driven = model[0].weight.T.detach(), (x * 15).round() / 15
    found = layers(analog, x)["0"]
    wanted = relative(driven @ w, x @ w)
    assert found.added["input conversion"] == pytest.approx(wanted, rel=1e-3)


def test_broken_cells_are_told_from_errors_of_writing():
    effects = (mho.effects.StuckAt(low=0.05, high=0.05), mho.effects.WriteNoise(sigma=0.02))
    model, x = mlp(20, 8), drawn(50, 20)
    analog = mho.convert(model, mho.Hardware(effects=effects), seed=2)
    xbar, w = mho.crossbars(analog)["0"], model[0].weight.T.detach()
    asked, _ = xbar.encode(w)
    healthy = xbar.decode(torch.where(xbar.stuck, asked, xbar.G))
    found = layers(analog, x)["0"]
    assert found.added["programming"] == pytest.approx(relative(x @ healthy, x @ w), rel=1e-3)
    broken = float((x @ (xbar.weight - healthy)).norm() / (x @ w).norm())
    assert found.added["broken cells"] == pytest.approx(broken, rel=1e-3)


def test_what_drift_did_is_told_though_nobody_kept_what_was_written():
    effects = (
        mho.effects.WriteNoise(sigma=0.05),
        mho.effects.PowerLawDrift(nu=0.05, nu_spread=0.3, t0=1.0),
    )
    model, x = mlp(20, 8), drawn(50, 20)
    analog = mho.convert(model, mho.Hardware(effects=effects), seed=2)
    before = layers(analog, x)["0"]
    written = mho.crossbars(analog)["0"].weight.clone()
    assert "drift" not in before.added
    mho.age(analog, 3e4)
    after, aged = layers(analog, x)["0"], mho.crossbars(analog)["0"].weight
    assert after.added["programming"] == pytest.approx(before.added["programming"], rel=1e-3)
    exact = x @ model[0].weight.T
    drift = float((x @ (aged - written)).norm() / exact.norm())
    assert after.added["drift"] == pytest.approx(drift, rel=1e-3)
    assert after.cause == "drift"


def test_a_correction_that_makes_up_for_drift_leaves_neither_to_blame():
    model, x = mlp(20, 8), drawn(200, 20)
    effects = (mho.effects.WriteNoise(sigma=0.01), mho.effects.PowerLawDrift(nu=0.06, t0=1.0))
    analog = mho.convert(model, mho.Hardware(effects=effects))
    mho.age(analog, 1e4)
    mho.calibrate(analog, x)
    found = layers(analog, x)["0"]
    assert min(found.added["drift"], found.added["correction"]) > 0.2
    assert found.own < 0.02
    assert abs(found.shares["drift"] + found.shares["correction"]) < 0.5


def test_alone_is_a_model_of_which_that_layer_alone_is_converted():
    effects = (mho.effects.WriteNoise(sigma=0.05),)
    model, x = mlp(20, 12, 6), drawn(50, 20)
    found = layers(mho.convert(model, mho.Hardware(effects=effects), seed=4), x)
    for name in ("0", "2"):
        with pytest.warns(UserWarning, match="digital"):
            one = mho.convert(model, mho.Hardware(effects=effects), seed=4, only=name)
        assert found[name].alone == pytest.approx(relative(one(x), model(x)), rel=1e-3)
    hidden = mho.crossbars(mho.convert(model, mho.Hardware(effects=effects), seed=4))["0"]
    first = torch.relu(x @ hidden.weight + model[0].bias)
    exact = torch.relu(x @ model[0].weight.T + model[0].bias)
    assert found["2"].arriving == pytest.approx(relative(first, exact), rel=1e-3)


def test_noise_is_of_its_size():
    model, x = mlp(200, 30), drawn(400, 200)
    analog = mho.convert(model, mho.Hardware(effects=(mho.effects.ReadNoise(sigma=0.02),)))
    found = layers(analog, x)["0"]
    exact, bias = x @ model[0].weight.T, model[0].bias
    once = relative(analog(x) - bias, exact)
    assert found.added["read noise"] == pytest.approx(once, rel=0.05)
    assert found.cause == "read noise"


def test_nothing_notices():
    analog, x = mho.convert(mlp(20, 12, 6), ALL, seed=3), drawn(60, 20)
    mho.calibrate(analog, x)
    other = copy.deepcopy(analog)
    analog.train()
    before = torch.get_rng_state()
    layers(analog, x)
    assert torch.equal(torch.get_rng_state(), before)
    assert analog.training
    analog.eval()
    for (name, one), two in zip(
        analog.state_dict().items(), other.state_dict().values(), strict=True
    ):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one.nan_to_num(7.0), two.nan_to_num(7.0)), name
    assert torch.equal(analog(x), other(x))


@pytest.mark.parametrize("encoding", [
    mho.encoding.SingleColumn(), mho.encoding.BitSliced(bits=6, bits_per_cell=2),
])  # fmt: skip
def test_any_encoding_and_many_ways_of_reading(encoding):
    hardware = mho.Hardware(
        encoding=encoding,
        dac=mho.DAC(bits=6, mode="bit_serial"),
        adc=mho.ADC(bits=8),
        array=mho.Array(rows=16, cols=8),
    )
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, groups=2), torch.nn.Flatten(), torch.nn.Linear(64, 5)
    ).eval()
    x = torch.rand(10, 2, 6, 6)
    analog = mho.convert(model, hardware)
    mho.calibrate(analog, x)
    found = layers(analog, x, vectors=37)
    for layer in found.layers:
        assert layer.own < 0.2
        assert sum(layer.shares.values()) == pytest.approx(1.0)
    if isinstance(encoding, mho.encoding.BitSliced):  # weights of six bits
        assert found["2"].added["encoding"] > 1e-3


def test_recurrent_layers_and_sequences_of_batches():
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(6, 5, batch_first=True)
            self.head = torch.nn.Linear(5, 3)

        def forward(self, x):
            return {"logits": self.head(self.lstm(x)[0][:, -1])}

    analog = mho.convert(Net().eval(), mho.Hardware(dac=mho.DAC(bits=6), adc=mho.ADC(bits=6)))
    batches = [(torch.rand(4, 7, 6), None), (torch.rand(3, 7, 6), None)]
    mho.calibrate(analog, batches)
    found = layers(analog, batches)
    assert {layer.name for layer in found.layers} == set(mho.crossbars(analog))
    assert all(0.0 < layer.own < 0.2 for layer in found.layers)
    assert all(0.0 < layer.alone < 0.2 for layer in found.layers)


def test_what_is_wrong_is_said():
    model, x = mlp(8, 4), drawn(5, 8)
    bare = mho.convert(model, mho.Hardware(), program=False)
    with pytest.raises(ValueError, match="0 is not programmed"):
        layers(bare, x)
    with pytest.raises(ValueError, match="no crossbar layers"):
        layers(model, x)
    analog = mho.convert(model, mho.Hardware())
    with pytest.raises(ValueError, match="vectors must be"):
        layers(analog, x, vectors=0)
    with pytest.raises(KeyError, match="layers are"):
        layers(analog, x)["nobody"]


def test_a_layer_that_no_input_reaches_is_named():
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)

        def forward(self, x):
            return self.used(x)

    analog = mho.convert(Half().eval(), mho.Hardware())
    with pytest.warns(UserWarning, match="no vector reached idle"):
        found = layers(analog, drawn(5, 8))
    assert found.unseen == ("idle",)
    assert "not reached: idle" in str(found)


def test_it_prints_and_draws():
    analog, x = mho.convert(mlp(20, 12, 6), ALL, seed=3), drawn(60, 20)
    mho.calibrate(analog, x)
    found = layers(analog, x, alone=False)
    assert found.layers[0].alone is None
    assert "at the outputs" not in str(found)
    assert str(found).splitlines()[2].startswith("0 ")
    ax = mho.plot.layer_errors(found)
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == [*found.causes, "own"]
    assert not math.isnan(found.outputs)
    plt.close("all")


def test_the_picture_has_the_style_of_the_others_and_takes_what_comes():
    one = LayerError("a$_{", "Linear", 0.0, {"encoding": math.nan, "drift": math.inf}, {}, 0.0)
    found = LayerErrors((one,), math.nan)
    with plt.rc_context({"axes.spines.top": True, "axes.titlelocation": "center"}):
        ax = mho.plot.layer_errors(found)
    assert not ax.spines["top"].get_visible()
    assert ax.get_title("left").startswith("error added by each stage")
    ax.figure.canvas.draw()  # a name is no formula
    assert [t.get_text() for t in ax.texts] == ["nan", "inf", "–"]
    given = plt.figure().subplots()
    assert mho.plot.layer_errors(found, given) is given
    assert not given.spines["top"].get_visible()
    with pytest.raises(ValueError, match="at least one layer"):
        mho.plot.layer_errors(LayerErrors((), 0.0))
    plt.close("all")

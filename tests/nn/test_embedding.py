"""Embeddings on crossbars: lookups against the actual one-hot read, and against torch."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

import mho
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import BitSliced, Differential, Scaling, SingleColumn
from mho.testing import LayerContract

SMALL = mho.Array(8, 6)


def put(layer, hardware, seed=1):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return mho.convert(layer, hardware, embeddings=True, seed=seed).eval()


class _Contract(LayerContract):
    def analog(self, digital, hardware, seed=0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mho.convert(digital, hardware, seed=seed, embeddings=True)


class TestEmbedding(_Contract):
    def layer(self):
        return nn.Embedding(11, 5, padding_idx=3)

    def inputs(self):
        return (torch.randint(11, (3, 4)),)


class TestEmbeddingByFrequency(_Contract):
    def layer(self):
        return nn.Embedding(6, 5, scale_grad_by_freq=True)

    def inputs(self):
        return (torch.tensor([1, 1, 4, 0, 1]),)


class TestBagOfMeans(_Contract):
    def layer(self):
        return nn.EmbeddingBag(11, 5, mode="mean", padding_idx=2)

    def inputs(self):
        return (torch.tensor([[1, 2, 1], [5, 5, 0]]),)


class TestBagWithOffsets(_Contract):
    calibrated = False

    def layer(self):
        return nn.EmbeddingBag(11, 5, mode="sum")

    def inputs(self):
        flat = torch.tensor([1, 2, 4, 5, 4, 3, 2, 9])
        return flat, torch.tensor([0, 3, 3, 6]), torch.rand(8, dtype=torch.float64)


# ── a lookup is the one-hot read ─────────────────────────────────────────────────────────────

HARDWARE = {
    "ideal": mho.Hardware(),
    "collapsed with a DAC": mho.Hardware(dac=mho.DAC(4, range=1.3)),
    "converters": mho.Hardware(array=SMALL, dac=mho.DAC(8), adc=mho.ADC(6)),
    "per call": mho.Hardware(
        array=SMALL, dac=mho.DAC(8, range="per_call"), adc=mho.ADC(6, range="per_call")
    ),
    "per vector": mho.Hardware(
        array=SMALL, dac=mho.DAC(8, range="per_vector"), adc=mho.ADC(6, range="per_vector")
    ),
    "bit-serial slices": mho.Hardware(
        array=SMALL,
        dac=mho.DAC(8, mode="bit_serial"),
        adc=mho.ADC(6),
        encoding=BitSliced(bits=8, bits_per_cell=2),
    ),
    "joint planes": mho.Hardware(
        array=SMALL, dac=mho.DAC(8, mode="bit_serial", converts_once=True), adc=mho.ADC(6)
    ),
    "some planes are zero": mho.Hardware(
        array=SMALL, dac=mho.DAC(8, mode="bit_serial", range=3.0), adc=mho.ADC(6)
    ),
    "two's complement": mho.Hardware(
        array=SMALL,
        dac=mho.DAC(6, mode="bit_serial", code="twos_complement", range=2.5),
        adc=mho.ADC(6, range="per_vector"),
        encoding=BitSliced(bits=4),
    ),
    "single column": mho.Hardware(
        array=SMALL, dac=mho.DAC(8), adc=mho.ADC(6), encoding=SingleColumn()
    ),
    "scaled by column": mho.Hardware(
        array=SMALL, adc=mho.ADC(6), encoding=Differential(scaling=Scaling(per_column=True))
    ),
    "wires": mho.Hardware(array=mho.Array(8, 6, wires=mho.circuit.Wires(2.0, 2.0)), adc=mho.ADC(6)),
    "no zero": mho.Hardware(array=SMALL, adc=mho.ADC(6, method="log")),
    "min–max": mho.Hardware(array=SMALL, adc=mho.ADC(6, method="minmax", range="per_vector")),
    "one bit": mho.Hardware(array=SMALL, dac=mho.DAC(1), adc=mho.ADC(6)),
    "sinh currents": mho.Hardware(
        mho.devices.ConductionDevice(law=mho.devices.Sinh(2.0)), array=SMALL, adc=mho.ADC(8)
    ),
    "two terms": mho.Hardware(mho.devices.MTJ(), array=SMALL, dac=mho.DAC(4), adc=mho.ADC(8)),
    "broken and drifted": mho.Hardware(
        array=SMALL,
        dac=mho.DAC(8),
        adc=mho.ADC(6),
        effects=(StuckAt(low=0.1, high=0.1), WriteNoise(0.03), PowerLawDrift(0.05)),
    ),
}


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("hardware", HARDWARE.values(), ids=HARDWARE)
def test_a_lookup_gives_the_numbers_of_the_one_hot_read(hardware, calibrated):
    torch.manual_seed(0)
    index = torch.randint(21, (3, 5))
    layer = put(nn.Embedding(21, 10), hardware)
    if calibrated:
        mho.calibrate(layer, index)
    mho.age(layer, 100.0)
    with torch.no_grad():
        whole = layer.crossbar(one_hot(index, 21).float())
        assert torch.equal(layer(index), whole)
    if hardware == HARDWARE["converters"]:
        assert not torch.equal(whole, mho.collapse(layer)(index))  # converters did act


@pytest.mark.parametrize("planes", [{}, {"mode": "bit_serial"}])
def test_noise_of_a_lookup_has_the_statistics_of_the_whole_read(planes):
    torch.manual_seed(0)
    hardware = mho.Hardware(array=SMALL, dac=mho.DAC(3, **planes), effects=(ReadNoise(0.05),))
    layer = put(nn.Embedding(20, 4), hardware)
    index = torch.tensor([7])
    many = 4000
    with torch.no_grad():
        one = layer(index.expand(many))
        whole = layer.crossbar(one_hot(index, 20).float().expand(many, -1))
    error = whole.std(0) * (2 / many) ** 0.5
    assert bool(((one.mean(0) - whole.mean(0)).abs() < 4.5 * error).all())
    assert torch.allclose(one.std(0), whole.std(0), rtol=4.5 / many**0.5)
    assert float(one.std(0).min()) > 0


def test_no_one_hot_is_made_of_a_lookup():
    layer = put(nn.Embedding(30_000, 4), mho.Hardware(adc=mho.ADC(8)))
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                seen.append(out.numel())
            return out

    layer.crossbar.reader.stored  # noqa: B018 (made ready)
    with torch.no_grad(), Watch():
        layer(torch.randint(30_000, (64,)))
    assert max(seen) <= 30_000 * 4  # one-hot inputs would be 64 · 30 000


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_a_bag_is_one_multi_hot_read(mode):
    torch.manual_seed(0)
    hardware = mho.Hardware(array=SMALL, dac=mho.DAC(8), adc=mho.ADC(6))
    layer = put(nn.EmbeddingBag(21, 10, mode=mode), hardware)
    index = torch.randint(21, (4, 6))
    index[0, :3] = 5  # counted three times
    x = one_hot(index, 21).sum(1).float()
    with torch.no_grad():
        wanted = layer.crossbar(x) / (6 if mode == "mean" else 1)
        assert torch.allclose(layer(index), wanted, atol=1e-6)


def test_bags_are_read_in_bounded_blocks(monkeypatch):
    torch.manual_seed(0)
    digital = nn.EmbeddingBag(21, 10, mode="sum")
    layer = put(digital, mho.Hardware(dac=mho.DAC(8, range="per_vector")))
    flat, offsets = torch.randint(21, (40,)), torch.tensor([0, 7, 7, 20, 38])
    weights = torch.rand(40)
    with torch.no_grad():
        at_once = layer(flat, offsets, weights)
        monkeypatch.setattr("mho.nn.embedding.ONE_HOT_AT_ONCE", 2 * 21)
        assert torch.equal(layer(flat, offsets, weights), at_once)
        assert torch.allclose(at_once, digital(flat, offsets, weights), atol=0.1)
        assert not at_once[1].any()


def test_a_padded_entry_takes_no_gradient_behind_converters():
    torch.manual_seed(0)
    layer = put(nn.Embedding(9, 4, padding_idx=2), mho.Hardware(adc=mho.ADC(10))).train()
    with torch.no_grad():
        layer.weight[2] = 0.5
    layer(torch.tensor([2, 2, 5])).sum().backward()
    assert float(layer.weight.grad[5].abs().sum()) > 0
    plain = mho.Hardware()
    torn = put(nn.Embedding(9, 4, padding_idx=2), plain).train()
    torn(torch.tensor([2, 2, 5])).sum().backward()
    assert not torn.weight.grad[2].any()


# ── what is refused, and said ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Embedding(5, 3, max_norm=1.0), "max_norm"),
        (nn.Embedding(5, 3, sparse=True), "sparse"),
        (nn.EmbeddingBag(5, 3, mode="max"), "mode='max'"),
    ],
)
def test_what_a_crossbar_cannot_do_stays_digital_and_is_said(layer, reason):
    model = nn.ModuleList([layer, nn.Linear(3, 3)])
    with pytest.warns(UserWarning, match=reason):
        analog = mho.convert(model, mho.Hardware(), embeddings=True)
    assert type(analog[0]) is type(layer)
    with pytest.raises(ValueError, match=f"'0'.*{reason}"):
        mho.convert(model, mho.Hardware(), only="0")


def test_embeddings_are_digital_by_default_and_named_by_only():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3))
    with pytest.warns(UserWarning, match=r"Embedding '0' \(looked up.*embeddings=True"):
        analog = mho.convert(model, mho.Hardware())
    assert list(mho.layers(analog)) == ["1"]
    with pytest.warns(UserWarning, match=r"not selected"):
        assert list(mho.layers(mho.convert(model, mho.Hardware(), only="0"))) == ["0"]
    fine = mho.Hardware(adc=mho.ADC(12))
    chosen = mho.convert(model, mho.Hardware(), overrides={"0": fine})
    assert chosen[0].hardware == fine


@pytest.mark.parametrize("x", [torch.rand(3), torch.tensor([True]), [1, 2]])
def test_indices_must_be_integers(x):
    with pytest.raises(TypeError, match="integers"):
        put(nn.Embedding(5, 3), mho.Hardware())(x)


@pytest.mark.parametrize("hardware", [mho.Hardware(), mho.Hardware(adc=mho.ADC(8))])
def test_empty_batches_and_single_indices(hardware):
    layer = put(nn.Embedding(5, 3), hardware)
    assert layer(torch.empty(2, 0, dtype=torch.long)).shape == (2, 0, 3)
    assert layer(torch.tensor(4)).shape == (3,)
    assert layer(torch.tensor([4], dtype=torch.int32)).shape == (1, 3)
    bag = put(nn.EmbeddingBag(5, 3), hardware)
    assert bag(torch.empty(0, 4, dtype=torch.long)).shape == (0, 3)
    assert not bag(torch.empty(2, 0, dtype=torch.long)).any()


def test_an_index_out_of_range_is_refused():
    for hardware in (mho.Hardware(), mho.Hardware(adc=mho.ADC(8))):
        layer = put(nn.Embedding(5, 3), hardware)
        with pytest.raises(IndexError):
            layer(torch.tensor([5]))


def test_bags_refuse_what_torch_refuses():
    bag = put(nn.EmbeddingBag(5, 3, mode="mean"), mho.Hardware())
    with pytest.raises(ValueError, match="offsets must be given"):
        bag(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="offsets are for a flat"):
        bag(torch.tensor([[1, 2]]), torch.tensor([0]))
    with pytest.raises(ValueError, match="mode 'sum'"):
        bag(torch.tensor([[1, 2]]), None, torch.rand(1, 2))


def test_the_life_of_a_table():
    torch.manual_seed(0)
    hardware = mho.Hardware(adc=mho.ADC(8), effects=(PowerLawDrift(0.1), WriteNoise(0.02)))
    layer, index = put(nn.Embedding(12, 6), hardware), torch.arange(12)
    mho.calibrate(layer, index)
    with torch.no_grad():
        fresh = layer(index)
        mho.age(layer, 1e6)
        aged = layer(index)
        mho.compensate(layer)
        mended = layer(index)
    assert float(aged.norm()) < 0.6 * float(fresh.norm())
    assert float((mended - fresh).norm()) < 0.2 * float(fresh.norm())
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(index), layer(index))
    assert "cells" in str(mho.summary(layer))


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_tables_train_before_they_are_programmed(kind):
    table = kind(9, 4)
    index = torch.randint(9, (3, 2))
    analog = mho.convert(table, mho.Hardware(), embeddings=True, program=False).train()
    y = analog(index)
    y.sum().backward()
    table(index).sum().backward()
    torch.testing.assert_close(y, table(index))
    torch.testing.assert_close(analog.weight.grad, table.weight.grad)
    assert analog(index[:0]).shape == table(index[:0]).shape


def test_bags_share_the_range_of_their_call_however_large_the_table_is(monkeypatch):
    table = nn.EmbeddingBag(64, 8, mode="sum")
    hardware = mho.Hardware(
        dac=mho.DAC(bits=4, range="per_call"), adc=mho.ADC(bits=8, range="per_call")
    )
    analog = mho.convert(table, hardware, embeddings=True).eval()
    index, weights = torch.randint(0, 64, (20, 3)), torch.rand(20, 3)
    weights[0] = 20.0
    expected = analog(index, per_sample_weights=weights)
    monkeypatch.setattr("mho.nn.embedding.ONE_HOT_AT_ONCE", 128)  # two bags at once
    assert torch.equal(analog(index, per_sample_weights=weights), expected)

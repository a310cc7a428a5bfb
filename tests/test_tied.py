"""Tied weights lie on one crossbar, read by all that share them, in either direction."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.utils.parametrizations import weight_norm

import mho
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import BitSliced, Differential, Scaling, SingleColumn

SMALL = mho.Array(8, 6)
WORN = (StuckAt(low=0.1, high=0.1), WriteNoise(0.03), PowerLawDrift(0.05))
NOISY = mho.Hardware(array=SMALL, dac=mho.DAC(8), adc=mho.ADC(6), effects=WORN)
PER_COLUMN = Differential(scaling=Scaling(per_column=True))
PER_CALL = {"dac": mho.DAC(5, range="per_call"), "encoding": PER_COLUMN}


class Language(nn.Module):
    """A first and a last layer with one Parameter, as language models have them."""

    def __init__(self, vocabulary=37, width=10, bias=False):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.inner = nn.Linear(width, width)
        self.head = nn.Linear(width, vocabulary, bias=bias)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(torch.relu(self.inner(self.table(x))))


def put(hardware, model=None, **settings):
    torch.manual_seed(0)
    model = Language() if model is None else model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model, mho.convert(model, hardware, embeddings=True, seed=1, **settings).eval()


INDEX = torch.arange(15).reshape(3, 5) * 2


@pytest.mark.parametrize(
    "hardware",
    [
        mho.Hardware(),
        mho.Hardware(dac=mho.DAC(8)),
        mho.Hardware(array=SMALL, dac=mho.DAC(8), adc=mho.ADC(6)),
        mho.Hardware(**PER_CALL),
        mho.Hardware(array=SMALL, adc=mho.ADC(6, range="per_call"), **PER_CALL),
        mho.Hardware(
            array=SMALL,
            dac=mho.DAC(8, mode="bit_serial"),
            adc=mho.ADC(6),
            encoding=BitSliced(bits=8, bits_per_cell=2),
        ),
        mho.Hardware(array=mho.Array(8, 6, wires=mho.circuit.Wires(2.0, 2.0)), adc=mho.ADC(6)),
        mho.Hardware(
            mho.devices.ConductionDevice(law=mho.devices.Sinh(2.0)), array=SMALL, adc=mho.ADC(8)
        ),
        NOISY,
    ],
)
def test_an_embedding_reads_the_head_s_crossbar_from_the_word_lines(hardware):
    _, analog = put(hardware)
    assert analog.table.crossbar is analog.head.crossbar
    mho.calibrate(analog, INDEX)
    mho.age(analog, 100.0)
    flat = INDEX.flatten()
    crossbar = analog.head.crossbar
    with torch.no_grad():
        wanted = (one_hot(flat, 37).float() @ crossbar.T) * crossbar.gain[flat].unsqueeze(1)
        assert torch.allclose(analog.table(flat), wanted, atol=2e-6)


def test_noise_read_from_the_word_lines():
    hardware = mho.Hardware(array=SMALL, effects=(ReadNoise(0.05),))
    _, analog = put(hardware)
    many = 4000
    x = one_hot(torch.tensor([7]), 37).float().expand(many, -1)
    with torch.no_grad():
        one, whole = analog.table(torch.full((many,), 7)), x @ analog.head.crossbar.T
    error = whole.std(0) * (2 / many) ** 0.5
    assert bool(((one.mean(0) - whole.mean(0)).abs() < 4.5 * error).all())
    assert torch.allclose(one.std(0), whole.std(0), rtol=4.5 / many**0.5)


def test_training_is_torch_s_where_hardware_is_ideal():
    model, analog = put(mho.Hardware())
    for each in (model, analog.train()):
        cross_entropy(each(INDEX).flatten(0, 1), INDEX.flatten()).backward()
    assert torch.allclose(analog.table.weight.grad, model.table.weight.grad, atol=1e-6)


@pytest.mark.parametrize("effects", [(), (WriteNoise(0.02), ReadNoise(0.01)), WORN])
def test_training_reads_through_converters_from_the_word_lines(effects):
    hardware = mho.Hardware(array=SMALL, dac=mho.DAC(9), adc=mho.ADC(9), effects=effects)
    model, analog = put(hardware)
    analog.train()
    y = analog.table(INDEX)
    y.sum().backward()
    grad = analog.table.weight.grad
    assert float(grad[INDEX.flatten()].abs().amax(1).min()) > 0  # a broken cell takes none
    assert not grad[1].any()
    if not effects:
        with torch.no_grad():
            assert torch.allclose(y, model.table(INDEX), atol=0.05)
            assert torch.allclose(y, analog.eval().table(INDEX), atol=1e-5)


def test_everything_over_a_model_sees_it_once():
    _, analog = put(NOISY)
    assert set(mho.crossbars(analog)) == {"head", "inner"}
    summary = mho.summary(analog)
    head = next(layer for layer in summary.layers if layer.name == "head")
    assert head.readers == ("table",)
    assert "head, table" in str(summary)
    mho.calibrate(analog, INDEX)
    mho.age(analog, 100.0)
    assert analog.head.crossbar.seconds == 100.0  # not 200
    mho.compensate(analog)
    report = mho.program(analog)
    assert set(report) == {"head", "inner"}
    assert int(analog.head.crossbar.writes.max()) == 2
    cost = mho.analysis.cost(analog, INDEX)
    assert [layer.name for layer in cost.layers] == list(mho.crossbars(analog))
    assert "embeddings" in str(cost)


def test_whoever_programs_it_programs_it_for_all():
    _, analog = put(mho.Hardware())
    with torch.no_grad():
        analog.table.weight.mul_(2.0)
    with pytest.warns(UserWarning, match="has changed since"):
        analog.table(INDEX)
    analog.head.program()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = analog(INDEX)
        mho.program(analog)
        assert torch.equal(analog(INDEX), y)
    assert torch.allclose(analog.table(INDEX), analog.table.weight[INDEX], atol=1e-5)


def test_copies_pickles_and_checkpoints():
    _, analog = put(NOISY)
    mho.calibrate(analog, INDEX)
    y = analog(INDEX)
    for twin in (copy.deepcopy(analog), pickle.loads(pickle.dumps(analog))):
        assert twin.table.crossbar is twin.head.crossbar
        assert twin.table.weight is twin.head.weight
        assert torch.equal(twin(INDEX), y)
    file = io.BytesIO()
    torch.save(analog.state_dict(), file)
    file.seek(0)
    other = mho.convert(Language(), NOISY, embeddings=True, seed=9).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(INDEX), y)


def test_collapse_keeps_the_tie():
    _, analog = put(mho.Hardware(effects=(WriteNoise(0.05), PowerLawDrift(0.1))))
    mho.calibrate(analog, INDEX)
    mho.age(analog, 1e4)
    mho.compensate(analog, "column")
    plain = mho.collapse(analog)
    assert plain.head.weight is plain.table.weight
    with torch.no_grad():
        assert torch.allclose(plain(INDEX), analog(INDEX), atol=1e-4)


def test_converting_again_and_fabricating_keep_the_tie():
    _, analog = put(NOISY)
    again = mho.convert(analog, mho.Hardware(adc=mho.ADC(5)))
    assert again.table.crossbar is again.head.crossbar
    mho.fabricate(again, 4)
    mho.program(again)
    # On hardware that can not be read both ways there are two, and back again one.
    with pytest.warns(UserWarning, match="share a Parameter, on two crossbars"):
        torn = mho.convert(analog, mho.Hardware(encoding=SingleColumn()))
    assert torn.table.crossbar is not torn.head.crossbar
    assert torch.allclose(torn.eval().table(INDEX), torn.table.weight[INDEX], atol=1e-5)
    back = mho.convert(torn, mho.Hardware()).eval()
    assert back.table.crossbar is back.head.crossbar
    assert torch.allclose(back.table(INDEX), back.table.weight[INDEX], atol=1e-5)


def test_without_embeddings_the_table_is_digital_and_tied():
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="looked up"):
        analog = mho.convert(Language(), mho.Hardware())
    assert type(analog.table) is nn.Embedding
    assert analog.table.weight is analog.head.weight


def test_two_linear_layers():
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    _, analog = put(mho.Hardware(effects=(WriteNoise(0.1),)), model)
    assert analog[0].crossbar is analog[2].crossbar
    assert list(mho.crossbars(analog)) == ["0"]
    x = torch.randn(4, 6)
    stored = analog[0].crossbar.weight.T
    wanted = torch.tanh(x @ stored.T + model[0].bias) @ stored.T + model[2].bias
    assert torch.allclose(analog(x), wanted, atol=1e-5)


def test_two_tables_and_a_bag():
    model = nn.ModuleList([nn.Embedding(9, 4), nn.EmbeddingBag(9, 4), nn.Embedding(9, 4)])
    model[1].weight = model[2].weight = model[0].weight
    _, analog = put(mho.Hardware(), model)
    assert len(mho.crossbars(analog)) == 1
    x = torch.randint(9, (2, 3))
    assert torch.allclose(analog[1](x), analog[2](x).mean(1), atol=1e-6)


def _bag_and_head():
    model = nn.ModuleList([nn.EmbeddingBag(9, 4), nn.Linear(4, 9, bias=False)])
    model[1].weight = model[0].weight
    return model


def _computed():
    model = nn.ModuleList([nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)])
    weight_norm(model[0])
    weight_norm(model[1])
    model[1].parametrizations.weight.original1 = model[0].parametrizations.weight.original1
    return model


@pytest.mark.parametrize(
    ("model", "hardware", "settings", "reason"),
    [
        (Language(), mho.Hardware(adc=mho.ADC(8, method="log")), {}, "no exact zero"),
        (Language(), mho.Hardware(encoding=SingleColumn()), {}, "shares a column"),
        (Language(), mho.Hardware(dac=mho.DAC(1)), {}, "one bit"),
        (Language(bias=True), mho.Hardware(bias="array"), {}, "bias lies on the array"),
        (
            Language(),
            mho.Hardware(),
            {"overrides": {"head": mho.Hardware(adc=mho.ADC(8))}},
            "different hardware",
        ),
        (_bag_and_head(), mho.Hardware(), {}, "a bag is a read of whole vectors"),
        (_computed(), mho.Hardware(), {}, "what computes a weight"),
    ],
)
def test_what_cannot_be_shared_gets_two_and_is_said(model, hardware, settings, reason):
    with pytest.warns(UserWarning, match=f"share a Parameter, on two crossbars.*{reason}"):
        analog = mho.convert(model, hardware, embeddings=True, **settings)
    found = mho.layers(analog)
    assert len(mho.crossbars(analog)) == len(found)


def test_a_chip_holds_it_once():
    _, analog = put(NOISY)
    chip = mho.chip.Chip(100, 100, NOISY, seed=0)
    chip.place(analog, "greedy")
    assert analog.table.crossbar is analog.head.crossbar
    assert analog.head.crossbar.on_chip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analog(INDEX)
    used = sum(crossbar.G.numel() for crossbar in mho.crossbars(analog).values())
    assert used == 2 * (37 * 10 + 10 * 10)


@pytest.mark.parametrize("embeddings", [False, True])
def test_a_llama_with_tied_embeddings(embeddings):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=60,
        tie_word_embeddings=True,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    tokens = torch.randint(60, (2, 8))
    with pytest.warns(UserWarning, match=r"100% of matrix weights and 100% of multiply"):
        analog = mho.convert(
            model, mho.Hardware(), embeddings=embeddings, inputs={"input_ids": tokens}
        )
    table = analog.get_input_embeddings()
    assert table.weight is analog.lm_head.weight
    assert (getattr(table, "crossbar", None) is analog.lm_head.crossbar) == embeddings
    with torch.no_grad():
        assert torch.allclose(analog(tokens).logits, model(tokens).logits, atol=1e-5)


def test_what_was_tied_and_is_no_longer_is_tied_again_or_refused():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
            self.head.weight = self.table.weight

        def forward(self, tokens):
            return self.head(self.table(tokens))

    model, tokens = Both(), torch.randint(9, (5,))
    with torch.device("meta"):
        hollow = Both()
    analog = mho.convert(hollow, mho.Hardware(), embeddings=True, program=False)
    analog.load_state_dict(model.state_dict(), assign=True)  # makes two Parameters of one
    mho.program(analog)
    assert analog.table.weight is analog.head.weight
    torch.testing.assert_close(analog.eval()(tokens), model(tokens), rtol=1e-4, atol=1e-5)
    analog.head.weight = nn.Parameter(torch.randn(9, 4))
    before = analog.head.crossbar.G.clone()
    with pytest.raises(ValueError, match=r"tie them again \(table.weight = head.weight\)"):
        mho.program(analog)
    assert torch.equal(analog.head.crossbar.G, before)

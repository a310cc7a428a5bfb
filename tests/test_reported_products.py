"""What the trace of a model names and counts, in ways of using weights that are less plain."""

import pytest
import torch
from torch import nn

import mho
from mho.model.tracer import trace

pytestmark = pytest.mark.filterwarnings("ignore:.*digital:UserWarning")


class Experts(nn.Module):
    """Three matrices in one Parameter; the input chooses."""

    def __init__(self, choose):
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 5, 4))
        self.head, self.choose = nn.Linear(5, 2), choose

    def forward(self, x, index):
        return self.head(self.choose(x, self.w, index))


def by_index(x, w, index):
    return torch.bmm(w[index], x.unsqueeze(-1)).squeeze(-1)


def one_by_one(x, w, index):
    return torch.stack([nn.functional.linear(x[i], w[index[i]]) for i in range(len(x))])


def grouped(x, w, index):
    ends = torch.arange(2, 7, 2, dtype=torch.int32, device=x.device)
    return nn.functional.grouped_mm(x, w.mT, offs=ends)


ways = [by_index, one_by_one]
if hasattr(nn.functional, "grouped_mm"):
    ways.append(grouped)


@pytest.mark.parametrize("choose", ways)
def test_experts_that_an_input_picks_are_named_with_their_products(choose):
    model = Experts(choose)
    inputs = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    found = mho.summary(mho.convert(model, mho.Hardware()), inputs)
    assert [(p.name, p.macs) for p in found.products] == [("w", 6 * 5 * 4)]
    assert (found.shares.macs, found.shares.of_macs) == (6 * 5 * 2, 6 * 5 * 2 + 6 * 5 * 4)
    assert (found.shares.weights, found.shares.of_weights) == (10, 70)


class Added(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(6, 8))
        self.rate = nn.Parameter(torch.randn(6, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head((x + self.position) * self.rate)


def test_positions_are_no_matrices_of_a_product():
    analog, x = mho.convert(Added(), mho.Hardware()), torch.randn(3, 6, 8)
    found = mho.summary(analog, x)
    assert (found.shares.weights, found.shares.of_weights) == (16, 16)
    assert [(d.name, d.reason) for d in found.digital] == [
        ("the model", "added or scaled, in no product")
    ]
    # Without inputs nobody knows.
    assert mho.summary(analog).shares.of_weights == 16 + 2 * 48
    said = r"Added, the model itself \(added or scaled, in no product\); 100%"
    with pytest.warns(UserWarning, match=said):
        mho.convert(Added(), mho.Hardware(), inputs=x)


class Queries(nn.Module):
    """Learned queries, given to a layer as an input is, attend to the input."""

    def __init__(self):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(3, 8))
        self.project = nn.Linear(8, 8)

    def forward(self, x):
        return self.project(self.queries) @ x.mT


def test_learned_queries_are_inputs_of_the_layer_they_are_given_to():
    found = trace(Queries(), torch.randn(2, 5, 8))
    assert [(p.name, p.macs) for p in found.products] == [("project.weight", 3 * 8 * 8)]
    assert found.between == 2 * 3 * 5 * 8


class Modulated(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.style = nn.Parameter(torch.randn(5, 4)), nn.Linear(4, 4)

    def forward(self, x):
        return torch.bmm(x.unsqueeze(1), (self.w * self.style(x).unsqueeze(1)).mT)


def test_a_weight_that_an_input_scales_is_still_that_weight():
    found = trace(Modulated(), torch.randn(3, 4))
    assert [(p.name, p.macs) for p in found.products] == [
        ("style.weight", 3 * 16),
        ("w", 3 * 5 * 4),
    ]


class Rotated(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 8)
        self.register_buffer("turn", torch.randn(8, 8))

    def forward(self, x):
        return self.head(x) @ self.turn


def test_products_with_matrices_in_buffers_are_named():
    analog = mho.convert(Rotated(), mho.Hardware())
    found = mho.summary(analog, torch.randn(2, 8))
    assert [p.name for p in found.products] == ["turn"]
    assert found.shares.of_macs == 2 * found.shares.macs


@pytest.mark.parametrize("form", ["keywords", "arguments", "with targets", "loader"])
def test_inputs_are_taken_as_calibrate_takes_them(form):
    x = torch.randn(4, 8)
    data = torch.utils.data.TensorDataset(x, torch.zeros(4))
    inputs = {
        "keywords": [{"x": x}],
        "arguments": (x,),
        "with targets": [(x, torch.zeros(4))],
        "loader": torch.utils.data.DataLoader(data, batch_size=4),
    }[form]
    analog = mho.convert(Rotated(), mho.Hardware())
    mho.calibrate(analog, [x] if form == "arguments" else inputs)
    assert mho.summary(analog, inputs).shares.macs == 4 * 64
    assert mho.estimate(Rotated(), mho.Hardware(), inputs, times=False).macs == 4 * 64


def test_what_is_not_programmed_is_said_so():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    analog = mho.convert(model, mho.Hardware(), program=False)
    assert not any(layer.programmed for layer in mho.summary(analog).layers)
    assert "not programmed: all" in str(mho.summary(analog))
    mho.program(analog[1])
    assert "not programmed: 0 (" in str(mho.summary(analog))
    mho.program(analog)
    assert "not programmed" not in str(mho.summary(analog))


class Scaled(nn.Embedding):
    def forward(self, input):
        return 2.0 * super().forward(input)


def test_embeddings_are_said_once_and_those_that_cannot_be_converted_are_not_promised():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4))
    model.more = nn.EmbeddingBag(9, 4)
    model.scaled = Scaled(9, 4)
    with pytest.warns(UserWarning, match="left digital") as said:
        mho.convert(model, mho.Hardware())
    (line,) = [str(w.message) for w in said]
    assert "2 Embedding and EmbeddingBag: '0', 'more' (looked up" in line
    assert "Scaled 'scaled' (no crossbar layer for this type)" in line


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*deprecated:UserWarning")
def test_packed_weights_are_named_and_counted():
    quantise = pytest.importorskip("torch.ao.quantization").quantize_dynamic
    packed = quantise(nn.Sequential(nn.Linear(4, 6)), {nn.Linear}, dtype=torch.qint8)
    found = mho.summary(mho.convert(nn.Sequential(packed, nn.Linear(6, 2)), mho.Hardware()))
    assert [(d.name, d.weights) for d in found.digital] == [("0.0", 24)]
    assert (found.shares.weights, found.shares.of_weights) == (12, 36)


class Past(nn.Module):
    """A weight that is used without its layer."""

    def __init__(self):
        super().__init__()
        self.net, self.out = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(nn.functional.linear(x, self.net.weight, self.net.bias))


def test_weights_that_are_used_past_their_crossbars_are_named():
    x = torch.randn(5, 4)
    with pytest.warns(UserWarning, match=r"past their crossbars, digitally: net.weight \(linear\)"):
        analog = mho.convert(Past(), mho.Hardware(), inputs=x)
    found = mho.summary(analog, x)
    assert [(p.name, p.macs) for p in found.products] == [("net.weight", 5 * 12)]
    assert (found.shares.macs, found.shares.of_macs) == (5 * 6, 5 * 18)


def test_an_estimate_counts_the_output_of_attention_and_lookups():
    attention = nn.MultiheadAttention(24, 3, batch_first=True)
    hardware = mho.Hardware(array=mho.Array(rows=8, cols=8), adc=mho.ADC(bits=8))
    x = torch.randn(2, 10, 24)
    found = mho.estimate(attention, hardware, (x, x, x), times=False)
    made = mho.summary(mho.convert(attention, hardware))
    assert (found.tiles, found.cells) == (made.tiles, made.cells)
    assert [c.vectors for c in found.crossbars] == [20.0] * 4
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    found = mho.estimate(
        model, hardware, torch.zeros(2, 5, dtype=torch.long), embeddings=True, times=False
    )
    assert [c.vectors for c in found.crossbars] == [10.0, 10.0]


def test_what_has_been_set_on_crossbars_is_said():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    assert mho.summary(mho.convert(model, mho.Hardware())).notes == ()
    analog = mho.convert(model, mho.Hardware(), cells_dtype=torch.float16)
    mho.freeze(analog, only="0")
    mho.limit_memory(analog, 10**6)
    assert mho.summary(mho.noise_free(analog)).notes == (
        "cells kept in float16: all",
        "frozen, read as stored in training too: 0",
        "quiet, reads draw no noise: all",
        "a read takes at most 1 MB: all",
    )


def test_an_estimate_counts_half_cells():
    model = nn.Linear(64, 32, bias=False)
    whole, half = (
        mho.estimate(model, mho.Hardware(), times=False, cells_dtype=kind)
        for kind in (None, torch.float16)
    )
    assert whole.converted - half.converted == 2 * 2 * 64 * 32  # 2 B less for two cells a weight

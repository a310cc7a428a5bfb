"""The runner of recurrent networks, with plain digital products, against torch's own layers."""

import ast
import collections
import pathlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import mho.recurrence
from mho.recurrence.form import Form, mode_of
from mho.recurrence.runner import run, run_cell

FLOAT = torch.float64


def _product(layer):
    """The products of a torch layer, from its own weights."""

    def product(part, x):
        weight, bias = getattr(layer, f"weight_{part}"), getattr(layer, f"bias_{part}", None)
        return nn.functional.linear(x, weight, bias)

    return product


def _run(layer, x, hx):
    form = Form.of(layer)
    y, state = run(form, x, hx, _product(layer), training=layer.training)
    return y, form.as_torch(state)


def _flat(value):
    if isinstance(value, PackedSequence):
        return [value.data]
    return [value] if isinstance(value, torch.Tensor) else [t for v in value for t in _flat(v)]


def _agree(found, wanted):
    for y, w in zip(_flat(found), _flat(wanted), strict=True):
        torch.testing.assert_close(y, w, rtol=1e-10, atol=1e-12)


@st.composite
def _layers(draw):
    kind = draw(st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]))
    layers = draw(st.integers(1, 3))
    options = {
        "num_layers": layers,
        "bidirectional": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.4])) if layers > 1 else 0.0,
    }
    if kind is nn.RNN:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind is nn.LSTM:
        options["proj_size"] = draw(st.sampled_from([0, 2]))
    torch.manual_seed(draw(st.integers(0, 10_000)))
    return kind(3, 4, dtype=FLOAT, **options).train(draw(st.booleans()))


@st.composite
def _cases(draw):
    """A torch layer, its input in any form, and an initial state or None."""
    layer = draw(_layers())
    form = draw(st.sampled_from(["padded", "unbatched", "packed", "packed sorted"]))
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    batch: tuple[int, ...] = (len(lengths),)
    if form == "unbatched":
        x, batch = torch.randn(lengths[0], 3, dtype=FLOAT), ()
    elif form == "padded":
        sides = (len(lengths), lengths[0]) if layer.batch_first else (lengths[0], len(lengths))
        x = torch.randn(*sides, 3, dtype=FLOAT)
    else:
        ordered = sorted(lengths, reverse=True) if form == "packed sorted" else lengths
        sequences = [torch.randn(n, 3, dtype=FLOAT) for n in ordered]
        x = pack_sequence(sequences, enforce_sorted=form == "packed sorted")
    hx = None
    if draw(st.booleans()):
        lead = (layer.num_layers * (1 + layer.bidirectional), *batch)
        hx = torch.randn(*lead, layer.proj_size or 4, dtype=FLOAT)
        if isinstance(layer, nn.LSTM):
            hx = (hx, torch.randn(*lead, 4, dtype=FLOAT))
    return layer, x, hx


@given(_cases())
@settings(max_examples=300, deadline=None)
def test_outputs_states_and_gradients_are_torch_s(case):
    """In train mode with the same masks of dropout, drawn from the same generator state."""
    layer, x, hx = case
    given_tensors = [*_flat(x), *(_flat(hx) if hx is not None else []), *layer.parameters()]
    for tensor in given_tensors:
        tensor.requires_grad_()
    found = []
    for model in (layer, lambda x, hx: _run(layer, x, hx)):
        torch.manual_seed(5)
        result = model(x, hx)
        # Each output counts differently, so that no two gradients can cancel.
        loss = sum((i + 1) * y.sin().sum() for i, y in enumerate(_flat(result)))
        found.append((result, torch.autograd.grad(loss, given_tensors)))
    (wanted, slopes), (result, own_slopes) = found
    _agree(result, wanted)
    _agree(own_slopes, slopes)
    if isinstance(x, PackedSequence):
        for one, other in zip(result[0][1:], wanted[0][1:], strict=True):
            assert (one is None and other is None) or torch.equal(one, other)
    else:
        assert result[0].shape == wanted[0].shape


def _count(layer, x):
    calls, product = collections.Counter(), _product(layer)

    def counted(part, rows):
        calls[part, len(rows)] += 1
        return product(part, rows)

    run(Form.of(layer), x, None, counted, training=False)
    return calls


def test_input_products_of_all_time_steps_are_one():
    layer = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2)
    ends = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    expected = {(f"ih{end}", 7 * 5): 1 for end in ends}
    expected |= {(f"{kind}{end}", 5): 7 for end in ends for kind in ("hh", "hr")}
    assert _count(layer, torch.randn(7, 5, 3)) == expected


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_time_step_reads_only_the_sequences_that_run(bidirectional):
    layer = nn.GRU(3, 4, bidirectional=bidirectional)
    x = pack_sequence([torch.randn(n, 3) for n in (2, 4, 1)], enforce_sorted=False)
    ends = ("_l0", "_l0_reverse")[: 1 + bidirectional]
    expected = {(f"ih{end}", 7): 1 for end in ends}
    for end in ends:
        expected |= {(f"hh{end}", 3): 1, (f"hh{end}", 2): 1, (f"hh{end}", 1): 2}
    assert _count(layer, x) == expected


@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize("batch", [(), (5,)])
@pytest.mark.parametrize(
    "cell",
    [
        nn.RNNCell(3, 4, dtype=FLOAT),
        nn.RNNCell(3, 4, bias=False, nonlinearity="relu", dtype=FLOAT),
        nn.LSTMCell(3, 4, dtype=FLOAT),
        nn.GRUCell(3, 4, dtype=FLOAT),
    ],
)
def test_cells_are_torch_s(cell, batch, stated):
    torch.manual_seed(3)
    x, h, c = (torch.randn(*batch, n, dtype=FLOAT) for n in (3, 4, 4))
    hx = ((h, c) if isinstance(cell, nn.LSTMCell) else h) if stated else None
    form = Form.of(cell)
    _agree(form.as_torch(run_cell(form, x, hx, _product(cell))), cell(x, hx))


def test_a_refused_call_multiplies_nothing():
    def product(part, x):
        raise AssertionError(part)

    form = Form.of(nn.LSTM(3, 4, bidirectional=True))
    x, h = torch.randn(5, 2, 3), torch.zeros(2, 2, 4)
    for bad, hx, match in (
        (torch.randn(5, 2, 4), None, r"input must have shape \[time, batch, 3\]"),
        (torch.randn(0, 2, 3), None, "at least one time step"),
        (x, (h,), r"hx must be \(h_0, c_0\), got 1 items"),
        (x, (h, h[:1]), r"hx\[1\] must have shape \[2, 2, 4\], got \[1, 2, 4\]"),
        (x[:, 0], (h, h), r"hx\[0\] must have shape \[2, 4\]"),
    ):
        with pytest.raises(ValueError, match=match):
            run(form, bad, hx, product, training=False)
    with pytest.raises(TypeError, match="hx must be tuple or list"):
        run(form, x, h, product, training=False)
    with pytest.raises(TypeError, match="input must be Tensor or PackedSequence"):
        run(form, [x], None, product, training=False)
    with pytest.raises(ValueError, match=r"input must have shape \[batch, 3\] or \[3\]"):
        run_cell(Form.of(nn.GRUCell(3, 4)), torch.randn(2, 5), None, product)
    with pytest.raises(ValueError, match="nonlinearity must be one of"):
        mode_of(nn.RNNCell(3, 4, nonlinearity="sin"))


def test_the_room_knows_only_the_ground():
    """It runs layers of every kind, so it may know none."""
    for file in pathlib.Path(mho.recurrence.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if name.split(".")[0] == "mho":
                    assert name.startswith(("mho.core", "mho.recurrence")), (file.name, name)

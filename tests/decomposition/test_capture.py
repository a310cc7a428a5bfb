"""Captured samples: their outer products add up to the gradient, for every kind of layer."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.checkpoint import checkpoint

import mho
from mho.decomposition import FullOuterProduct, StreamingBatchPCA, capture


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(make):
    torch.manual_seed(0)
    return make().double()


def flat(output):
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, PackedSequence):
        return [output.data]
    return [tensor for part in output for tensor in flat(part)]


def loss(output):
    """Something that asks of every output, final states too, in a different way."""
    return sum(((k + 1) * y.sin()).sum() for k, y in enumerate(flat(output)))


def weights(module):
    return {name: p for name, p in module.named_parameters() if p.dim() > 1}


def assert_samples_make_the_gradient(samples, module):
    for name, weight in weights(module).items():
        found = samples.of(weight)
        assert found is not None, name
        x, delta = found
        assert len(x) == len(delta)
        gradient = weight.grad.flatten(1)
        product = delta.T @ x
        error = (product - gradient).abs().max()
        assert error <= 1e-12 * gradient.abs().max(), f"{name}: {error}"
        assert gradient.abs().max() > 0, name


def check(module, *inputs, passes=2):
    with capture(module) as samples:
        for _ in range(passes):  # gradients add up, and so do samples
            loss(module(*inputs)).backward()
        assert_samples_make_the_gradient(samples, module)
        assert samples.missing == {}


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (3,), (2, 2, 2, 3)])
def test_linear(shape):
    check(seeded(lambda: nn.Linear(3, 4)), normal(*shape))


CONVOLUTIONS = {
    "1d, dilated, circular": (
        lambda groups: nn.Conv1d(
            4, 8, 3, 2, padding=1, dilation=2, groups=groups, padding_mode="circular"
        ),
        (2, 4, 17),
    ),
    "2d, uneven": (
        lambda groups: nn.Conv2d(4, 8, (3, 2), (2, 1), padding=(0, 1), groups=groups),
        (2, 4, 9, 8),
    ),
    "2d, same, reflect, one image": (
        lambda groups: nn.Conv2d(
            4, 8, (3, 4), padding="same", dilation=(2, 1), groups=groups, padding_mode="reflect"
        ),
        (4, 9, 8),
    ),
    "2d, valid, no bias": (
        lambda groups: nn.Conv2d(4, 8, 3, padding="valid", groups=groups, bias=False),
        (3, 4, 6, 5),
    ),
    "3d": (lambda groups: nn.Conv3d(4, 8, 2, stride=2, groups=groups), (2, 4, 5, 6, 7)),
}


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolution(kind, groups):
    make, shape = CONVOLUTIONS[kind]
    check(seeded(lambda: make(groups)), normal(*shape))


RECURRENT = {
    "RNN": lambda: nn.RNN(3, 4),
    "RNN relu": lambda: nn.RNN(3, 4, nonlinearity="relu", bias=False),
    "LSTM": lambda: nn.LSTM(3, 4),
    "GRU": lambda: nn.GRU(3, 4),
    "GRU without bias": lambda: nn.GRU(3, 4, bias=False),
    "deep RNN": lambda: nn.RNN(3, 4, 2, bidirectional=True),
    "deep LSTM": lambda: nn.LSTM(3, 4, 2, bidirectional=True),
    "deep GRU": lambda: nn.GRU(3, 4, 3, bidirectional=True),
    "projected LSTM": lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
}


def first_state(layer, batch):
    lead = layer.num_layers * (1 + layer.bidirectional)
    h = normal(lead, batch, layer.proj_size or layer.hidden_size, seed=3)
    return (h, normal(lead, batch, layer.hidden_size, seed=4)) if layer.mode == "LSTM" else h


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent(kind):
    check(seeded(RECURRENT[kind]), normal(5, 2, 3))
    check(seeded(RECURRENT[kind]), normal(5, 3))
    layer = seeded(RECURRENT[kind])
    layer.batch_first = True
    check(layer, normal(5, 2, 3), first_state(layer, 5))


@pytest.mark.parametrize("kind", RECURRENT)
def test_packed_sequences(kind):
    x = pack_sequence([normal(4, 3), normal(6, 3, seed=1), normal(1, 3)], enforce_sorted=False)
    layer = seeded(RECURRENT[kind])
    check(layer, x, first_state(layer, 3))
    sequences = [normal(4, 3), normal(2, 3)]
    check(seeded(RECURRENT[kind]), pack_sequence(sequences))


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells_over_several_steps(kind):
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = kind(3, 4)

        def forward(self, x):
            state = None
            for row in x:
                state = self.cell(row, state)
            return state

    check(seeded(Steps), normal(5, 2, 3))
    check(seeded(Steps), normal(5, 3))


@pytest.mark.parametrize("make", [lambda: nn.GRU(3, 4), lambda: nn.GRUCell(3, 4)])
def test_recurrent_arguments_by_name(make):
    layer = seeded(make)
    x, h = normal(2, 3), normal(2, 4)  # of a GRU: one sequence
    if isinstance(layer, nn.GRU):
        h = h[:1]
    with capture(layer) as samples:
        loss(layer(hx=h, input=x)).backward()
        assert_samples_make_the_gradient(samples, layer)


def test_only_some_outputs_used():
    layer = seeded(lambda: nn.LSTM(3, 4))
    with capture(layer) as samples:
        _, (_, c) = layer(normal(5, 2, 3))
        c.sum().backward()
        assert_samples_make_the_gradient(samples, layer)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Linear(3, 4), (5, 3)),
        (lambda: nn.Conv2d(4, 8, 3, groups=2, padding=1), (2, 4, 6, 6)),
        (lambda: nn.Conv1d(4, 8, 3), (2, 4, 6)),
        (lambda: nn.LSTM(3, 4, 2, bidirectional=True), (5, 2, 3)),
        (lambda: nn.GRU(3, 4), (5, 2, 3)),
        (lambda: nn.RNN(3, 4), (5, 2, 3)),
        (lambda: nn.LSTMCell(3, 4), (5, 3)),
    ],
)
@pytest.mark.parametrize("bias", ["digital", "array"])
def test_layers_on_crossbars(make, shape, bias):
    layer = mho.convert(seeded(make), mho.Hardware(bias=bias), seed=0).train()
    state = [normal(2, 5, 4)] if isinstance(layer, mho.nn.LSTMCell) else []
    check(layer, normal(*shape), *(tuple(s) for s in state))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 6)
        self.out = nn.Linear(6, 6)

    def forward(self, x):
        x = F.relu(self.conv(x), inplace=True).mean((2, 3))
        x = F.relu(self.head(x), inplace=True)
        return self.out(self.out(x).tanh())  # used twice


def test_models_with_shared_use_and_inplace_activations():
    check(seeded(Model), normal(7, 1, 6, 6))


def test_a_weight_shared_by_two_layers():
    one, two = nn.Linear(4, 4), nn.Linear(4, 4)
    two.weight = one.weight
    check(nn.Sequential(one, nn.Tanh(), two).double(), normal(5, 4))


def test_clear_and_remove():
    model = seeded(Model)
    before = copy.deepcopy(model.state_dict())
    samples = capture(model)
    weight = model.out.weight
    assert samples.of(weight) is None
    loss(model(normal(7, 1, 6, 6))).backward()
    assert len(samples.of(weight)[0]) == 14
    samples.clear()
    model.zero_grad()
    assert samples.of(weight) is None
    loss(model(normal(3, 1, 6, 6))).backward()
    assert_samples_make_the_gradient(samples, model)
    samples.remove()
    assert samples.of(weight) is None
    loss(model(normal(3, 1, 6, 6))).backward()
    assert samples.of(weight) is None
    assert not any(module._forward_hooks for module in model.modules())
    torch.testing.assert_close(model.state_dict(), before)


def test_what_the_model_itself_forgets_is_forgotten():
    model = seeded(Model)
    with capture(model) as samples:
        for batch in (3, 5, 2):
            out = loss(model(normal(batch, 1, 6, 6)))
            model.zero_grad()  # between forward and backward, too
            out.backward()
            assert_samples_make_the_gradient(samples, model)
            loss(model(normal(4, 1, 6, 6))).backward()  # accumulates
            assert_samples_make_the_gradient(samples, model)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_are_seen_once(reentrant):
    layer = nn.Linear(4, 4).double()

    def twice(x):
        return torch.tanh(layer(torch.tanh(layer(x))))

    with capture(layer) as samples:
        for _ in range(2):
            layer.zero_grad()
            for _ in range(2):
                x = normal(5, 4).requires_grad_()
                y = checkpoint(twice, x, use_reentrant=reentrant)
                loss(checkpoint(twice, y, use_reentrant=reentrant)).backward()
            input, delta = samples.of(layer.weight)
            assert len(input) == 40
            torch.testing.assert_close(delta.T @ input, layer.weight.grad)


def test_a_copy_starts_with_its_own_samples():
    model = nn.Linear(4, 3).double()
    samples = capture(model)
    loss(model(normal(5, 4))).backward()
    twin, its = pickle.loads(pickle.dumps((model, samples)))
    loss(twin(normal(2, 4))).backward()
    assert len(its.of(twin.weight)[0]) == 2
    assert len(samples.of(model.weight)[0]) == 5


def test_outputs_and_gradients_are_not_touched():
    for make, x in ((Model, normal(7, 1, 6, 6)), (RECURRENT["deep LSTM"], normal(5, 2, 3))):
        results = []
        for watched in (False, True):
            model = seeded(make)
            samples = capture(model) if watched else None
            output = model(x)
            loss(output).backward()
            results.append((flat(output), [p.grad for p in model.parameters()]))
            if samples is not None:
                assert samples.missing == {}
        torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_nothing_without_gradients():
    model = seeded(Model)
    with capture(model) as samples:
        with torch.no_grad():
            model(normal(3, 1, 6, 6))
        model(normal(3, 1, 6, 6))  # never passed backwards through
        assert samples.of(model.out.weight) is None
        assert samples.missing == {}


def test_frozen_weights_have_no_samples():
    model = seeded(Model)
    model.head.weight.requires_grad_(False)
    with capture(model) as samples:
        loss(model(normal(3, 1, 6, 6))).backward()
        assert samples.of(model.head.weight) is None
        assert samples.of(model.conv.weight) is not None


def test_activations_are_let_go():
    layer = nn.LSTM(3, 4)
    samples = capture(layer)
    gc.disable()
    try:
        y, _ = layer(torch.randn(5, 2, 3))
        seen = weakref.ref(y)
        y.sum().backward()
        del y, _
        assert seen() is None
    finally:
        gc.enable()
    samples.remove()


def test_missing_says_why():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(6, 4)
            self.normed = weight_norm(nn.Linear(4, 4))
            self.lstm = nn.LSTM(4, 4, 2, dropout=0.5)
            self.attention = nn.MultiheadAttention(4, 2, dropout=0.1)
            self.up = nn.ConvTranspose1d(4, 4, 1)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.words.weight  # tied: half of its gradient is elsewhere
            self.good = nn.Linear(6, 2)

        def forward(self, x):
            x = self.normed(self.words(x))
            x = self.lstm(x)[0]
            x = self.attention(x, x, x)[0]
            x = self.up(x.transpose(1, 2)).transpose(1, 2)
            return self.good(self.head(x))

    model = Odd()
    with capture(model) as samples:
        model(torch.tensor([[0, 1], [2, 3]])).sum().backward()
        missing = samples.missing
        assert samples.of(model.words.weight) is None
        assert samples.of(model.good.weight) is not None
    expected = {
        "words.weight": "Embedding",
        "lstm.weight_ih_l0": "dropout",
        "lstm.weight_hh_l1": "dropout",
        "attention.in_proj_weight": "dropout",
        "attention.out_proj.weight": "attention multiplies by it",
        "up.weight": "ConvTranspose1d",
    }
    for name, reason in expected.items():
        assert reason in missing[name]
    assert any(name.startswith("normed.parametrizations") for name in missing)
    assert "good.weight" not in missing
    every = {name for name, p in model.named_parameters() if p.dim() > 1}
    assert set(missing) == every - {"good.weight"}


def test_samples_feed_decompositions():
    model = seeded(Model)
    with capture(model) as samples:
        loss(model(normal(7, 1, 6, 6))).backward()
        for key, weight in weights(model).items():
            gradient = weight.grad.flatten(1)
            whole = FullOuterProduct().decompose(*samples.of(weight), gradient, key)
            torch.testing.assert_close(whole, gradient)
            few = StreamingBatchPCA(2, 4).decompose(*samples.of(weight), gradient, key)
            assert (few - gradient).norm() < gradient.norm()


def test_model_must_be_a_module():
    with pytest.raises(TypeError, match="model must be Module"):
        capture([nn.Linear(2, 2)])


# ── attention ────────────────────────────────────────────────────────────────────────────────


def attends(weighs, **options):
    """Attention to two other sequences, as a module of three inputs."""

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, **options)

        def forward(self, q, k, v, **masks):
            return [
                y for y in self.attention(q, k, v, need_weights=weighs, **masks) if y is not None
            ]

    return seeded(Attends)


@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True, "bias": False},
        {"kdim": 5, "vdim": 7, "batch_first": True},
        {"add_zero_attn": True},
    ],
    ids=str,
)
def test_attention(options, weighs):
    q, k = normal(3, 3, 6), normal(3, 3, options.get("kdim", 6), seed=1)
    v = normal(3, 3, options.get("vdim", 6), seed=2)
    inputs = [(q, k, v), (q[0], k[0], v[0])]
    if "kdim" not in options:
        inputs += [(q, q, q), (q, k, k)]
    for given in inputs:
        check(attends(weighs, **options), *given)


@pytest.mark.parametrize("weighs", [False, True])
def test_attention_behind_masks(weighs):
    model = attends(weighs, batch_first=True)
    q, k = normal(2, 4, 6), normal(2, 5, 6, seed=1)
    late = torch.ones(4, 5, dtype=torch.bool).triu(1)
    ignored = torch.zeros(2, 5, dtype=torch.bool)
    ignored[1, 3:] = True
    own = normal(4, 4, 5, seed=3)  # of every sequence and head
    with capture(model) as samples:
        loss(model(q, k, k, attn_mask=late, key_padding_mask=ignored)).backward()
        loss(model(q, k, k, attn_mask=own)).backward()
        assert_samples_make_the_gradient(samples, model)


def test_attention_with_dropout_has_no_samples():
    with capture(nn.MultiheadAttention(4, 2, dropout=0.1)) as samples:
        assert set(samples.missing) == {"in_proj_weight", "out_proj.weight"}
        assert all("dropout" in reason for reason in samples.missing.values())


def test_what_attention_adds_to_keys_has_no_samples():
    with capture(nn.MultiheadAttention(4, 2, add_bias_kv=True)) as samples:
        assert set(samples.missing) == {"bias_k", "bias_v"}

"""Data in all usual forms, wherever data are taken: the same numbers give the same result."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import mho
from mho.analysis import cost, hessian_directions, landscape
from mho.core import intake
from mho.core.digests import digest
from mho.model.inputs import batches_of, call_of, pair_of
from mho.study import accuracy, over_chips
from mho.train import fit

HARDWARE = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))
# Multiples of 1/8: the same numbers in every kind of float.
X = torch.randint(-8, 8, (24, 6), generator=torch.Generator().manual_seed(0)) / 8
Y = torch.arange(24) % 4


class Numbered(Dataset):
    """Samples as a user's own dataset gives them: NumPy in, a label beside."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i].numpy(), int(Y[i])


FORMS = {
    "float32 array": X.numpy(),
    "float64 array": X.double().numpy(),
    "read-only array": np.broadcast_to(X.numpy(), X.shape),
    "reversed array": X.numpy()[::-1].copy()[::-1],
    "big-endian array": X.numpy().astype(">f4"),
    "lists": X.tolist(),
    "DataFrame": pd.DataFrame(X.numpy(), index=range(24, 0, -1)),
    "nullable DataFrame": pd.DataFrame(X.double().numpy()).astype("Float64"),
    "float64 tensor": X.double(),
    "half tensor": X.half(),
}
BATCHED = {
    "loader": DataLoader(TensorDataset(X), batch_size=24),
    "loader of pairs": DataLoader(TensorDataset(X, Y), batch_size=24),
    "loader of dicts": DataLoader([{"input": row} for row in X], batch_size=24),
    "loader of a user's": DataLoader(Numbered(), batch_size=24),
    "Dataset": Numbered(),
    "one batch of a loader": [X, Y],
    "a pair of arrays": (X.numpy(), Y.numpy()),
    "a pair of lists": (X.tolist(), Y.tolist()),
    "a pair of tables": (pd.DataFrame(X.numpy()), pd.Series(Y.numpy())),
    "regression": (X.numpy(), Y.double().numpy()[:, None]),
    "labels in words": (X.numpy(), np.array(["a", "b"] * 12)),
    "dict of arrays": {"input": X.numpy()},
    "list of arrays": [X.numpy()],
}
ALL = FORMS | BATCHED


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()


def one_layer():
    torch.manual_seed(0)
    return nn.Linear(6, 4)


@pytest.mark.parametrize("form", ALL)
def test_calibrate(form):
    one, other = (mho.convert(one_layer(), HARDWARE).eval() for _ in range(2))
    mho.calibrate(one, X)
    mho.calibrate(other, ALL[form])
    assert torch.equal(one(X), other(X))


@pytest.mark.parametrize("form", ALL)
def test_cost(form):
    analog = mho.convert(one_layer(), HARDWARE).eval()
    assert cost(analog, ALL[form]).energy == cost(analog, X).energy


@pytest.mark.parametrize("form", ALL)
def test_estimate_summary_and_convert(form):
    given = ALL[form]
    found = mho.estimate(one_layer(), HARDWARE, given, times=False)
    assert found.macs == found.of_macs == 24 * 6 * 4
    analog = mho.convert(one_layer(), HARDWARE, inputs=given)
    assert not mho.summary(analog, given).untraced


PAIRS = {
    **{form: (x, Y) for form, x in FORMS.items()},
    "labels as a list": (X, Y.tolist()),
    "labels as a Series": (X, pd.Series(Y.numpy(), index=range(24, 0, -1))),
    "labels as a column": (X, pd.DataFrame({"label": Y.numpy()})),
    "labels of int32": (X.numpy(), Y.numpy().astype(np.int32)),
    "labels of uint8": (X.numpy(), Y.numpy().astype(np.uint8)),
}
LABELLED = {
    "pair": (X.numpy(), Y.numpy()),
    "Dataset": Numbered(),
    "TensorDataset": TensorDataset(X, Y),
    "loader": DataLoader(Numbered(), batch_size=5),
}


def measured(inputs, labels=None, calibration=X, **more):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    return accuracy(network, HARDWARE, inputs, labels, calibration=calibration, seeds=[0], **more)


@pytest.mark.parametrize("form", PAIRS)
def test_accuracy(form):
    expected, found = measured(X, Y), measured(*PAIRS[form])
    assert (found.digital, found.samples) == (expected.digital, expected.samples)
    assert torch.equal(found.chips, expected.chips)


@pytest.mark.parametrize("form", LABELLED)
def test_accuracy_of_pairs_and_its_calibration(form):
    found = measured(LABELLED[form], calibration=LABELLED[form])
    assert torch.equal(found.chips, measured(X, Y).chips)


@pytest.mark.parametrize("form", LABELLED)
def test_over_chips_takes_labelled_data(form, model):
    analog = mho.convert(model, HARDWARE).eval()

    def right(chip):
        return (chip(X).argmax(1) == Y).double().mean()

    expected = over_chips(analog, right, [0, 1])
    torch.testing.assert_close(over_chips(analog, LABELLED[form], [0, 1]), expected)


@pytest.mark.parametrize(
    "value", [np.float32(0.5), 0.5, torch.tensor(0.5), np.array(0.5), np.float64(0.5)]
)
def test_over_chips_takes_what_evaluate_returns(value, model):
    analog = mho.convert(model, HARDWARE).eval()
    assert over_chips(analog, lambda _: value, [0, 1]).tolist() == [0.5, 0.5]
    several = over_chips(analog, lambda _: pd.Series([value, value], dtype=float), [0])
    assert several.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("evaluate", [5, "text", None, X])
def test_over_chips_refuses_what_evaluates_nothing(evaluate, model):
    with pytest.raises(TypeError, match="evaluate must be a function of a chip, or labelled"):
        over_chips(mho.convert(model, HARDWARE), evaluate, [0])


@pytest.mark.parametrize("form", PAIRS | LABELLED)
def test_train_fit(form):
    def trained(data):
        torch.manual_seed(0)
        network = nn.Linear(6, 4)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        history = fit(network, optimizer, data, nn.functional.cross_entropy, epochs=2, batch=5)
        return network.weight, history.loss

    data = (PAIRS | LABELLED)[form]
    if form == "labels as a column":
        data = (data[0], data[1]["label"])
    weight, loss = trained(data)
    expected, expected_loss = trained((X, Y))
    assert torch.equal(weight, expected)
    assert loss == expected_loss


def test_a_loader_says_the_batch_of_fit():
    steps = []
    network = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True)
    fit(
        network,
        optimizer,
        loader,
        nn.functional.cross_entropy,
        epochs=1,
        after_step=steps.append,
    )
    assert len(steps) == 4


@pytest.mark.parametrize(
    ("loader", "told"),
    [
        (DataLoader(Numbered(), 4, drop_last=True), "drop_last"),
        (
            DataLoader(Numbered(), 4, sampler=torch.utils.data.SubsetRandomSampler([1, 2])),
            "SubsetRandomSampler",
        ),
    ],
)
def test_loaders_that_fit_cannot_follow(loader, told):
    network = nn.Linear(6, 4)
    with pytest.raises(ValueError, match=told):
        fit(
            network,
            torch.optim.SGD(network.parameters(), lr=0.1),
            loader,
            nn.functional.cross_entropy,
            epochs=1,
        )


@pytest.mark.parametrize("form", PAIRS | LABELLED)
def test_landscapes(form, model):
    data = (PAIRS | LABELLED)[form]
    if form == "labels as a column":
        data = (data[0], data[1]["label"])
    loss = nn.functional.cross_entropy
    (_, expected), (ways, found) = (hessian_directions(model, loss, d, 1) for d in ((X, Y), data))
    assert torch.equal(found, expected)
    one, other = (landscape(model, loss, d, ways, points=3) for d in ((X, Y), data))
    assert torch.equal(one.loss, other.loss)


# ── kinds of numbers ─────────────────────────────────────────────────────────────────────────


def test_numbers_take_the_models_dtype():
    whole = np.arange(12).reshape(2, 6)
    for dtype in (torch.float64, torch.bfloat16):
        network = nn.Linear(6, 4, dtype=dtype)
        for given in (X.numpy(), X.double(), whole, whole.tolist(), whole.astype(np.uint8)):
            (batch,) = batches_of(given, network)
            assert batch.dtype == dtype


def test_whole_numbers_stay_indices_where_something_is_looked_up():
    network = nn.Sequential(nn.Embedding(12, 3), nn.Linear(3, 2))
    for given in (np.arange(6), list(range(6)), pd.Series(range(6)), torch.arange(6)):
        (batch,) = batches_of(given, network)
        assert batch.dtype == torch.int64
    # Whoever made a tensor of int64 wants indices, as one-hot codes do.
    (batch,) = batches_of(torch.arange(6), nn.Linear(6, 4))
    assert batch.dtype == torch.int64


def test_kinds_that_torch_does_not_compute_with():
    for kind in (np.uint16, np.uint32, np.uint64, np.longdouble):
        found = intake.tensor("x", np.arange(3, dtype=kind))
        assert found.tolist() == [0, 1, 2]
        assert found.dtype in (torch.int32, torch.int64, torch.float64)
    assert intake.tensor("x", pd.Series([np.ones(2), np.zeros(2)])).tolist() == [[1, 1], [0, 0]]


def test_arguments_of_one_call_stay_several():
    bilinear = nn.Bilinear(6, 6, 4)
    first, second = call_of((X.numpy(), X.double()), bilinear)
    assert first.dtype == second.dtype == torch.float32
    assert len(call_of([X, X[:, :1]], bilinear)) == 2


# ── what is refused ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (pd.DataFrame({"a": [1.0], "name": ["x"]}), r"str among them \(columns name\)"),
        (np.array(["a", "b"]), "real numbers, got <U1"),
        (np.array([1j]), "real numbers, got complex128"),
        (np.array([None, 1.0], object), "NoneType"),
        (pd.Series(pd.to_datetime(["2020-01-01"])), "datetime64"),
    ],
)
def test_what_holds_no_numbers_is_named(given, told):
    analog = mho.convert(one_layer(), HARDWARE)
    for ask in (mho.calibrate, cost):
        with pytest.raises(TypeError, match=told):
            ask(analog, given)


def test_ragged_rows():
    with pytest.raises(ValueError, match="equally long"):
        mho.calibrate(mho.convert(one_layer(), HARDWARE), [[1.0, 2.0], [1.0]])


@pytest.mark.parametrize("data", [X, "text", 3, (X,), (X, Y, Y), [[1.0, 2.0], [3.0, 4.0]]])
def test_pairs_are_asked_for(data):
    with pytest.raises(TypeError, match="data must be inputs and targets"):
        pair_of("data", data)


@pytest.mark.parametrize("labels", [Y[:5], torch.zeros(24, 4), torch.tensor(3)])
def test_labels_that_are_none(labels):
    with pytest.raises(ValueError, match="labels"):
        measured(X, labels)


# ── measured data ────────────────────────────────────────────────────────────────────────────

V = np.linspace(0.0, 1.0, 40)
MEASURED = {
    "float64 array": np.asarray,
    "list": lambda a: np.asarray(a).tolist(),
    "tensor": torch.tensor,
    "tensor with gradients": lambda a: torch.tensor(a, requires_grad=True),
    "Series": lambda a: pd.Series(a, index=range(len(a), 0, -1)),
    "nullable Series": lambda a: pd.Series(a, dtype="Float64"),
}


@pytest.mark.parametrize("form", MEASURED)
def test_fits_of_measured_data(form):
    of = MEASURED[form]
    rng = np.random.default_rng(0)
    v = np.linspace(0.02, 0.6, 40)
    sweep = np.concatenate([V, V[::-1]])
    current = 1e-4 * sweep * (1 + 0.4 * (np.arange(80) >= 40))
    target = np.repeat(np.linspace(1e-6, 2e-5, 6), 20)
    written = target + 1e-7 * rng.standard_normal(120)
    g, dg = rng.uniform(1e-6, 1e-5, 500), rng.normal(1e-7, 1e-8, 500)
    asked = {
        "iv": lambda f: mho.fit.iv(f(v), f(1e-4 * np.sinh(3 * v))).estimates,
        "hysteresis": lambda f: mho.fit.hysteresis(f(sweep), f(current)),
        "programming": lambda f: mho.fit.programming(f(target), f(written)).estimates,
        "jump_table": lambda f: mho.fit.jump_table(f(g), f(dg)).verdict,
        "pairs": lambda f: mho.fit.pairs(f(g)),
        "cell_map": lambda f: mho.fit.cell_map(f(g)).estimates,
    }
    for name, ask in asked.items():
        assert str(ask(of)) == str(ask(np.asarray)), name


def test_cycles_in_a_table():
    sweep = np.concatenate([V, V[::-1]])
    rows = np.stack([sweep, sweep])
    current = 1e-4 * rows
    expected = str(mho.fit.hysteresis(rows, current))
    assert str(mho.fit.hysteresis(pd.DataFrame(rows), pd.DataFrame(current))) == expected
    assert str(mho.fit.hysteresis(list(rows), list(current))) == expected


def test_numbers_beyond_int64_are_refused_and_missing_ones_are_nan():
    for given in ([2**70], np.array([1, 2**63], dtype=np.uint64)):
        with pytest.raises(ValueError, match="x must hold"):
            intake.tensor("x", given)
    most = intake.tensor("x", np.array([2**63 - 1], dtype=np.uint64))
    assert most.tolist() == [2**63 - 1]
    masked = intake.tensor("x", np.ma.array([1, 2], mask=[False, True]))
    assert masked[0] == 1.0
    assert masked[1].isnan()


def test_digests_tell_tensors_of_all_kinds_apart():
    z = torch.tensor([1 + 2j, 3j])
    given = [z, z.conj(), z.real, z.conj().imag, torch.eye(2), torch.eye(2).to_sparse() * 2]
    given += [torch.ones(2, 2), torch.ones(4), torch.ones(4).double(), torch.ones(0)]
    found = [digest(value) for value in given]
    assert len(set(found)) == len(given)
    assert digest(torch.eye(2).to_sparse()) == digest(torch.eye(2))
    assert digest(torch.ones(2, 4).T) == digest(torch.ones(4, 2))

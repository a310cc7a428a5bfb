"""The small training loop: it resumes to the same numbers, whatever the model is made of."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mho
from mho import ADC, DAC, Hardware
from mho.decomposition import StreamingBatchPCA
from mho.devices import ExponentialDevice, SoftBoundsDevice
from mho.effects import ReadNoise, WriteNoise
from mho.train import WAGE, Chopped, DifferentialPair, InSitu, TikiTaka, quantise
from mho.train.loop import fit

NOISY = ExponentialDevice(nonlinearity_set=2.4, nonlinearity_reset=-4.88, c2c=0.035)

X = torch.randn(100, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] * X[:, 1] > 0).long()


class KilledError(Exception):
    pass


def build(kind):
    """Model, optimizer and schedule of a run, the same every time."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 2))
    if kind == "analog":
        effects = (WriteNoise(0.05), ReadNoise(0.02))
        model = mho.convert(model, Hardware(dac=DAC(bits=6), adc=ADC(bits=6), effects=effects))
    if kind == "quantised":
        model = quantise(model, WAGE(4, 8, 8, 8), seed=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    if kind == "in situ":
        optimizer = InSitu(optimizer, NOISY, layout=DifferentialPair(refresh_every=5))
    elif kind == "low rank":
        stream = StreamingBatchPCA(2, 4)
        optimizer = InSitu(optimizer, NOISY, decomposition=stream, model=model, threshold=1.0)
    elif kind == "quantised":
        optimizer = WAGE(4, 8, 8, 8).optimizer(optimizer)
    elif kind == "tiki-taka":
        optimizer = TikiTaka(model, 0.5, device=SoftBoundsDevice(c2c=0.1), rule=Chopped())
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5, gamma=0.9)
    return model, optimizer, schedule


def run(kind, die_at=None, **more):
    model, optimizer, schedule = build(kind)
    count = 0

    def after(_):
        nonlocal count
        count += 1
        if count == die_at:
            raise KilledError

    def loss_now(m):
        return float(F.cross_entropy(m(X), Y).detach())

    history = fit(
        model,
        optimizer,
        (X, Y),
        F.cross_entropy,
        epochs=4,
        batch=16,
        seed=9,
        schedule=schedule,
        after_step=after,
        evaluate=loss_now if kind == "plain" else None,
        **more,
    )
    return model, history


@pytest.mark.parametrize(
    "kind", ["plain", "analog", "in situ", "low rank", "tiki-taka", "quantised"]
)
def test_killed_in_mid_epoch_and_resumed_to_the_same_numbers(kind, tmp_path):
    torch.manual_seed(11)
    whole, expected = run(kind)
    path = tmp_path / "run.pt"
    torch.manual_seed(11)
    with pytest.raises(KilledError):
        run(kind, die_at=18, checkpoint=path, every=2)
    torch.manual_seed(99)  # another process, another state of the global generator
    resumed, history = run(kind, checkpoint=path, every=2)
    assert history == expected
    assert len(history.loss) == 4
    for (name, one), (_, two) in zip(
        whole.state_dict().items(), resumed.state_dict().items(), strict=True
    ):
        same = torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
        assert same or (one.isnan() & two.isnan()).all(), name


def test_it_learns_and_counts():
    _, history = run("plain")
    assert len(history.loss) == len(history.metric) == 4
    assert history.loss[-1] < history.loss[0]


def test_every_sample_is_seen_once_an_epoch():
    seen = []

    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            seen.append(x.detach().clone())
            return x * self.scale

    model = Watch()
    inputs = torch.arange(23.0).view(-1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    history = fit(model, optimizer, (inputs, inputs), F.mse_loss, epochs=2, batch=5)
    assert [len(x) for x in seen] == [5, 5, 5, 5, 3] * 2
    first, second = torch.cat(seen[:5]), torch.cat(seen[5:])
    assert torch.equal(first.sort(0).values, inputs)
    assert torch.equal(second.sort(0).values, inputs)
    assert not torch.equal(first, second)
    assert history.loss == [0.0, 0.0]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    run("plain", checkpoint=path)
    model, optimizer, _ = build("plain")
    with pytest.raises(ValueError, match="another run"):
        fit(model, optimizer, (X, Y), F.cross_entropy, epochs=1, batch=8, checkpoint=path)


def test_a_loss_that_is_not_finite_ends_the_run():
    model, optimizer, _ = build("plain")
    with pytest.raises(RuntimeError, match="epoch 1, step 1"):
        fit(model, optimizer, (X * torch.nan, Y), F.cross_entropy, epochs=1)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1, "batch": 0}, "batch"),
        ({"epochs": 1, "every": -1}, "every"),
        ({"epochs": 1, "every": 0}, "every"),
    ],
)
def test_bad_arguments_are_refused(more, text):
    model, optimizer, _ = build("plain")
    with pytest.raises(ValueError, match=text):
        fit(model, optimizer, (X, Y), F.cross_entropy, **more)
    with pytest.raises(ValueError, match="equally many"):
        fit(model, optimizer, (X, Y[:5]), F.cross_entropy, epochs=1)

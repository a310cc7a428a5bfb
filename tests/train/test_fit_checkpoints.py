"""Checkpoints of the training loop: of this run, whole, of one run at a time, where they can be."""

import functools
import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mho
from mho.train.loop import fit

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (32,), generator=torch.Generator().manual_seed(1))
HUBER = functools.partial(F.cross_entropy, label_smoothing=0.1)


def run(path, *, lr=0.1, data=(X, Y), loss=F.cross_entropy, epochs=3, model=None, **more):
    torch.manual_seed(0)
    model = nn.Linear(6, 3) if model is None else model
    kind = more.pop("kind", torch.optim.SGD)
    optimizer = kind(model.parameters(), lr)
    schedule = more.pop("schedule", None)
    schedule = None if schedule is None else schedule(optimizer)
    history = fit(
        model, optimizer, data, loss, epochs=epochs, checkpoint=path, schedule=schedule, **more
    )
    return history, model, optimizer


def step_lr(gamma):
    return lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=gamma)


@pytest.mark.parametrize(("other", "said"), [
    ({"lr": 0.001}, r"optimizer.groups: expected .*0\.001.*found .*0\.1"),
    ({"data": (X + 1, Y)}, "data: expected"),
    ({"data": (X, 2 - Y)}, "data: expected"),
    ({"data": (X.double(), Y), "model": nn.Linear(6, 3).double()}, "data: expected"),
    ({"loss": HUBER}, r"loss: expected .*label_smoothing=0\.1"),
    ({"kind": torch.optim.Adam}, "optimizer.kind: expected 'torch.optim.adam.Adam'"),
    ({"model": nn.Sequential(nn.Linear(6, 3))}, "model.: expected 'Sequential'"),
    ({"model": nn.Linear(6, 3, bias=False)}, "model.: expected"),
    ({"schedule": step_lr(0.5)}, "schedule: expected"),
    ({"seed": 5}, "seed: expected 5, found 0"),
])  # fmt: skip
def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path, other, said):
    path = tmp_path / "run.pt"
    run(path)
    saved = path.read_bytes()
    given = other.get("model")
    before = None if given is None else [p.detach().clone() for p in given.parameters()]
    with pytest.raises(ValueError, match=rf"of another run: {said}"):
        run(path, epochs=5, **other)
    assert path.read_bytes() == saved
    if before is not None:
        assert all(torch.equal(a, b) for a, b in zip(before, given.parameters(), strict=True))


def test_other_settings_of_a_schedule_are_seen(tmp_path):
    path = tmp_path / "run.pt"
    run(path, schedule=step_lr(0.5))
    with pytest.raises(ValueError, match=r"schedule.gamma: expected 0\.7, found 0\.5"):
        run(path, schedule=step_lr(0.7))


def test_force_goes_on_with_what_is_given_now(tmp_path):
    path = tmp_path / "run.pt"
    first, *_ = run(path)
    history, _, optimizer = run(path, lr=0.001, epochs=5, resume="force")
    assert history.loss[:3] == first.loss
    assert len(history.loss) == 5
    assert optimizer.param_groups[0]["lr"] == 0.001
    # And it is that run's from now on.
    again, *_ = run(path, lr=0.001, epochs=5)
    assert again == history
    with pytest.raises(ValueError, match="resume must be one of 'same', 'force'"):
        run(path, resume="yes")


def test_more_epochs_are_gone_on_to_and_fewer_are_refused(tmp_path):
    path = tmp_path / "run.pt"
    run(path)
    longer, *_ = run(path, epochs=5)
    whole, *_ = run(None, epochs=5)
    assert longer == whole
    with pytest.raises(ValueError, match="epochs must be >= 5, those that checkpoint"):
        run(path, epochs=1)


def test_who_is_interrupted_calls_again_with_what_is_there(tmp_path):
    path = tmp_path / "run.pt"
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=40)
    steps = []

    def stop(_):
        steps.append(1)
        if len(steps) == 5:
            raise KeyboardInterrupt

    def go(after=None):
        return fit(
            model, optimizer, (X, Y), F.cross_entropy, epochs=4, batch=8, every=1,
            schedule=schedule, checkpoint=path, after_step=after,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        go(stop)
    assert len(go().loss) == 4


def test_checkpoints_of_older_versions_go_on(tmp_path):
    path = tmp_path / "run.pt"
    run(path)
    state = torch.load(path, weights_only=True)
    state["run"] = {name: state["run"][name] for name in ("seed", "batch", "samples")}
    torch.save(state, path)
    history, *_ = run(path, epochs=5)
    assert len(history.loss) == 5


@pytest.mark.parametrize("place", ["nowhere/run.pt", "."])
def test_where_nothing_can_be_written_is_found_out_at_once(tmp_path, place):
    seen = []
    with pytest.raises(OSError, match="checkpoint"):
        run(tmp_path / place, evaluate=lambda m: seen.append(m) or 0.0)
    assert not seen


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "other"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "run.pt"
    run(path)
    whole = path.read_bytes()
    if damage == "other":
        torch.save({"model": 1}, path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"checkpoint .*run\.pt is"):
        run(path)


def test_one_run_at_a_time(tmp_path):
    path = tmp_path / "run.pt"
    refused = []

    def meanwhile(_):
        if not refused:
            with pytest.raises(RuntimeError, match="another run is at work on checkpoint"):
                run(path)
            refused.append(True)

    run(path, after_step=meanwhile)
    assert refused
    run(path)  # it is free again


def test_two_processes_do_not_hurt_each_other(tmp_path):
    path = tmp_path / "run.pt"
    code = (
        "import sys, torch, mho; import torch.nn.functional as F\n"
        "torch.manual_seed(0); model = torch.nn.Linear(12, 4)\n"
        "data = torch.randn(64, 12), torch.randint(0, 4, (64,))\n"
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        "try:\n"
        "    mho.train.fit(model, optimizer, data, F.cross_entropy, epochs=30, batch=8,\n"
        "                  checkpoint=sys.argv[1], every=1)\n"
        "    print('finished')\n"
        "except RuntimeError as error: print(error)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate()[0] for one in both]
    assert all("finished" in words or "another run is at work" in words for words in said)
    assert any("finished" in words for words in said)
    assert torch.load(path, weights_only=True)["progress"]["epoch"] == 30


def test_data_that_are_not_finite_are_not_blamed_on_the_learning_rate():
    bad = X.clone()
    bad[3, 2] = math.nan
    with pytest.raises(RuntimeError, match=r"its inputs hold 1 of 192 values that are NaN"):
        run(None, data=(bad, Y), batch=32)
    with pytest.raises(RuntimeError, match="the learning rate may be too high"):
        run(None, lr=1e38, epochs=5)


def test_a_dataset_counts_by_its_first_and_last_sample(tmp_path):
    class Worked(torch.utils.data.Dataset):
        def __init__(self, shift):
            self.shift = shift

        def __len__(self):
            return 32

        def __getitem__(self, row):
            return X[row] + self.shift, Y[row]

    path = tmp_path / "run.pt"
    run(path, data=Worked(0.0))
    assert len(run(path, data=Worked(0.0))[0].loss) == 3
    with pytest.raises(ValueError, match="another run: data"):
        run(path, data=Worked(1.0))


def test_cells_and_their_optimizer_are_known_too(tmp_path):
    path = tmp_path / "run.pt"
    soft = mho.devices.SoftBoundsDevice()

    def go(lr, device=soft):
        torch.manual_seed(0)
        model = nn.Linear(6, 3)
        optimizer = mho.train.PulsedSGD(model, lr, device=device)
        return fit(model, optimizer, (X, Y), F.cross_entropy, epochs=1, checkpoint=path)

    go(0.1)
    with pytest.raises(ValueError, match="another run"):
        go(0.2)

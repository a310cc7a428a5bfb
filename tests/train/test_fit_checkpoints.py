"""Checkpoints of the training loop: of this run, whole, of one run at a time, where they can be."""

import functools
import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler as schedules
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

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
    ({"lr": 0.001}, r"optimizer.groups.0.lr: expected 0\.001, found 0\.1"),
    ({"data": (X + 1, Y)}, "data: expected"),
    ({"data": (X, 2 - Y)}, "data: expected"),
    ({"data": (X.double(), Y), "model": nn.Linear(6, 3).double()}, "data: expected"),
    ({"loss": HUBER}, r"loss: expected .*label_smoothing=0\.1"),
    ({"kind": torch.optim.Adam}, "optimizer.kind: expected 'torch.optim.adam.Adam'"),
    ({"model": nn.Sequential(nn.Linear(6, 3))}, "model.: expected 'Sequential'"),
    ({"model": nn.Linear(6, 3, bias=False)}, "model.: expected"),
    ({"schedule": step_lr(0.5)}, "schedule: expected"),
    ({"seed": 5}, "seed: expected 5, found 0"),
    ({"teacher": nn.Linear(6, 3), "loss": F.cross_entropy}, "settings.teacher: expected '"),
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


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def one_after_the_other(milestone, step=2):
    def made(optimizer):
        parts = [
            schedules.ConstantLR(optimizer, 0.5, 2),
            schedules.StepLR(optimizer, step, gamma=0.5),
        ]
        return schedules.SequentialLR(optimizer, parts, [milestone])

    return made


SCHEDULES = {
    "milestones": lambda n: lambda o: schedules.MultiStepLR(o, [1, n], gamma=0.5),
    "sequence": one_after_the_other,
    "part": lambda n: one_after_the_other(3, n),
    "chain": lambda n: lambda o: schedules.ChainedScheduler([schedules.StepLR(o, n, gamma=0.5)]),
    "cosine": lambda n: lambda o: schedules.CosineAnnealingLR(o, 10 * n),
    "cycle": lambda n: lambda o: schedules.OneCycleLR(o, 0.2, total_steps=20 * n),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_all_that_a_schedule_was_given_tells_it_from_others(tmp_path, name):
    path, made = tmp_path / "run.pt", SCHEDULES[name]
    run(path, epochs=2, batch=8, schedule=made(3))
    with pytest.raises(ValueError, match=r"another run: (schedule|optimizer\.groups)"):
        run(path, batch=8, schedule=made(4))
    resumed = run(path, batch=8, schedule=made(3))
    assert torch.equal(weights(resumed[1]), weights(run(None, batch=8, schedule=made(3))[1]))


@pytest.mark.parametrize("name", SCHEDULES)
def test_forced_schedules_are_where_they_would_be_by_themselves(tmp_path, name):
    path, made = tmp_path / "run.pt", SCHEDULES[name]
    run(path, epochs=2, batch=8, schedule=made(3))
    *_, forced = run(path, batch=8, schedule=made(4), resume="force")
    *_, whole = run(None, batch=8, schedule=made(4))
    assert forced.param_groups[0]["lr"] == whole.param_groups[0]["lr"]


def test_force_with_the_same_settings_changes_nothing(tmp_path):
    path = tmp_path / "run.pt"
    run(path, epochs=1, schedule=step_lr(0.5))
    forced = run(path, schedule=step_lr(0.5), resume="force")
    whole = run(None, schedule=step_lr(0.5))
    assert forced[0] == whole[0]
    assert torch.equal(weights(forced[1]), weights(whole[1]))


@pytest.mark.parametrize(("other", "said"), [
    ({"model": nn.Linear(6, 3, bias=False)}, "Unexpected key"),
    ({"kind": torch.optim.Adam}, "optimizer torch.optim.sgd.SGD, given is torch.optim.adam.Adam"),
    ({"kind": lambda p, lr: torch.optim.SGD([{"params": [q]} for q in p], lr)}, "groups"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path, other, said):
    path = tmp_path / "run.pt"
    run(path, lr=0.5)
    model = other.get("model") or nn.Linear(6, 3)
    before = weights(model).clone()
    with pytest.raises(ValueError, match=rf"(?s)does not fit: .*{said}"):
        run(path, **{**other, "model": model}, resume="force", epochs=5)
    assert torch.equal(weights(model), before)


class Drawn(torch.utils.data.Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, row):
        return X[row] + torch.randn(6), Y[row]


def test_samples_that_are_drawn_resume_to_the_same_numbers(tmp_path):
    path = tmp_path / "run.pt"
    whole, *_ = run(None, data=Drawn())
    assert run(tmp_path / "other.pt", data=Drawn())[0] == whole
    run(path, data=Drawn(), epochs=1)
    assert run(path, data=Drawn())[0] == whole


def test_a_loader_that_repeats_or_leaves_out_samples_is_refused():
    pairs = TensorDataset(X, Y)
    for settings in ({"replacement": True}, {"num_samples": 8}):
        loader = DataLoader(pairs, sampler=RandomSampler(pairs, **settings))
        with pytest.raises(ValueError, match="without replacement"):
            run(None, data=loader)


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


def test_what_a_killed_run_left_half_written_is_removed_by_the_next(tmp_path):
    path = tmp_path / "run.pt"
    run(path)
    left = [tmp_path / f".run.{number:012x}.pt" for number in (7, 0xABCDEF)]
    others = [
        tmp_path / name for name in (".run.pt", ".run2.00000000000a.pt", ".run.x.pt", "run2.pt")
    ]
    for file in (*left, *others):
        file.write_bytes(b"half")
    run(path)
    assert not any(file.exists() for file in left)
    assert all(file.read_bytes() == b"half" for file in others)


SETTINGS = {
    "dropout": (lambda p: {"model": nn.Sequential(nn.Linear(6, 3), nn.Dropout(p))}, "model.1"),
    "loss": (lambda p: {"loss": nn.CrossEntropyLoss(label_smoothing=p)}, "loss.label_smoothing"),
    "weights": (
        lambda p: {"loss": nn.CrossEntropyLoss(torch.tensor([1.0, p, 2.0]))}, "loss.tensors",
    ),
    "injection": (lambda p: {"model": injected(p)}, "model."),
}  # fmt: skip


def injected(noise):
    model = mho.convert(nn.Linear(6, 3), mho.Hardware(), seed=0)
    model.crossbar.inject_noise(mho.train.NoiseInjection(noise=noise))
    return model


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_shapes_do_not_show_are_told_apart(tmp_path, name):
    path, (other, said) = tmp_path / "run.pt", SETTINGS[name]
    run(path, **other(0.1))
    with pytest.raises(ValueError, match=f"another run: settings.{said}"):
        run(path, epochs=4, **other(0.3))
    assert len(run(path, epochs=4, **other(0.1))[0].loss) == 4


def test_checkpoints_that_say_nothing_of_settings_are_taken(tmp_path):
    path = tmp_path / "run.pt"
    run(path)
    state = torch.load(path, weights_only=True)
    del state["run"]["settings"]
    torch.save(state, path)
    assert len(run(path, epochs=4)[0].loss) == 4


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"model": 3}, TypeError, "model must be Module, got 3"),
        ({"optimizer": None}, TypeError, "optimizer must have zero_grad"),
        ({"optimizer": torch.optim.SGD}, TypeError, "optimizer must have zero_grad"),
        ({"loss": None}, TypeError, "loss must be a function, got None"),
        ({"schedule": "cosine"}, TypeError, "schedule must have step.., got 'cosine'"),
        ({"after_step": 5}, TypeError, "after_step must be a function, got 5"),
        ({"before_step": "clip"}, TypeError, "before_step must be a function, got 'clip'"),
        ({"evaluate": "accuracy"}, TypeError, "evaluate must be a function, got 'accuracy'"),
        ({"checkpoint": 5}, TypeError, "checkpoint must be str or PathLike, got 5"),
        ({"every": 5}, ValueError, "every=5 would do nothing without a checkpoint"),
        (
            {"optimizer": torch.optim.SGD(nn.Linear(6, 3).parameters(), 0.1)},
            ValueError, "optimizer must be of the model's own parameters, and has none of them",
        ),
    ],
)  # fmt: skip
def test_what_cannot_train_is_refused_before_the_first_step(wrong, error, said):
    model = nn.Linear(6, 3)
    before = model.weight.detach().clone()
    given = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1)}
    given |= {"data": (X, Y), "loss": F.cross_entropy, "epochs": 1, **wrong}
    with pytest.raises(error, match=said):
        fit(**given)
    assert torch.equal(model.weight, before)


def test_what_evaluate_returns_is_a_number():
    with pytest.raises(TypeError, match="evaluate must return a number, got None"):
        run(None, evaluate=lambda model: None)

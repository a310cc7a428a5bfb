"""The same network on the same hardware here and in other simulators, where they are installed.

    python benchmarks/other_tools.py [--chips 10] [--rounds 11] [--epochs 40] [--quick]

Accuracy: an MLP 64-128-10 trained in software on scikit-learn's digits; phase-change cells of so
many times the measured noise, 8-bit converters, output noise; programmed on several chips and
drifted, compensated by one factor a layer. Speed: a read of 784-512-10 (batch 256), programming and
drifting it, and a noise-aware training step (AIHWKit-Lightning). Each hardware here is what
`mho.compat.configs` makes of the configuration there. What is compared is timed in turn, in one
process and one thread. Prints JSON lines; one names the tools that are not installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import mho
from mho.compat.configs import from_aihwkit, from_aihwkit_lightning
from timing import medians, options, report

HOURS = {"20 s": 0.0, "1 h": 3600.0, "1 day": 86_400.0, "1 year": 3.15e7}
T0 = 20.0  # s, between programming and the first read there


def digits() -> tuple[torch.Tensor, ...]:
    """Return inputs and labels of training, then of testing."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    x, y = torch.tensor(data.data / 16.0, dtype=torch.float32), torch.tensor(data.target)
    split = train_test_split(x.numpy(), y.numpy(), test_size=0.4, random_state=0)
    x, tests, y, labels = (torch.from_numpy(part) for part in split)
    return x, y, tests, labels


def trained(x: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
    return model.eval()


def configuration(write: float = 1.0, read: float = 1.0) -> Any:
    """Return AIHWKit's configuration, with so many times the noise of writing and of reading."""
    from aihwkit.inference import PCMLikeNoiseModel
    from aihwkit.simulator.configs import TorchInferenceRPUConfig
    from aihwkit.simulator.parameters.enums import BoundManagementType

    config = TorchInferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    config.forward.inp_res = config.forward.out_res = 1 / 254
    config.forward.out_bound, config.forward.out_noise = 10.0, 0.04
    config.forward.bound_management = BoundManagementType.NONE
    config.noise_model = PCMLikeNoiseModel(prog_noise_scale=write, read_noise_scale=read)
    return config


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return 100.0 * float((model(x).argmax(1) == y).float().mean())


def told(found: list[float]) -> dict[str, float]:
    values = torch.tensor(found)
    return {"mean": round(float(values.mean()), 2), "std": round(float(values.std()), 2)}


def aihwkit_accuracy(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, chips: int, write: float, read: float
) -> None:
    from aihwkit.nn.conversion import convert_to_analog

    config = configuration(write, read)
    hardware = from_aihwkit(config).hardware
    theirs: dict[str, list[float]] = {age: [] for age in HOURS}
    ours: dict[str, list[float]] = {age: [] for age in HOURS}
    for seed in range(chips):
        torch.manual_seed(seed)
        analog = convert_to_analog(model, config).eval()
        analog.program_analog_weights()
        for age, seconds in HOURS.items():
            analog.drift_analog_weights(seconds)
            theirs[age].append(accuracy(analog, x, y))
        chip = mho.convert(model, hardware, seed=seed).eval()
        passed = 0.0
        for age, seconds in HOURS.items():
            mho.age(chip, seconds + T0 - passed)
            passed = seconds + T0
            mho.compensate(chip)
            ours[age].append(accuracy(chip, x, y))
    for age in HOURS:
        found = {"aihwkit": told(theirs[age]), "mho": told(ours[age])}
        report(f"accuracy, {age}", write_noise=write, read_noise=read, chips=chips, **found)


def aihwkit_speed(rounds: int) -> None:
    from aihwkit.nn.conversion import convert_to_analog

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10)).eval()
    x = torch.rand(256, 784)
    config = configuration()
    analog = convert_to_analog(model, config).eval()
    hardware = from_aihwkit(config).hardware
    chip = mho.convert(model, hardware, seed=0).eval()
    quiet = mho.convert(model, hardware.replace(device=hardware.device.replace(read_scale=0.0)))
    quiet.eval()

    @torch.no_grad()
    def read(net: nn.Module) -> None:
        net(x)

    def age() -> None:
        mho.age(chip, 60.0)
        mho.compensate(chip)

    work: dict[str, Callable[[], Any]] = {
        "digital": lambda: read(model),
        "aihwkit read": lambda: read(analog),
        "mho read": lambda: read(chip),
        "mho read, cells without read noise": lambda: read(quiet),
        "aihwkit program": analog.program_analog_weights,
        "mho program": lambda: mho.program(chip),
        "aihwkit drift, compensation": lambda: analog.drift_analog_weights(60.0),
        "mho drift, compensation": age,
    }
    compiled = _compiled(model)
    if compiled is not None:
        work["aihwkit read, C++ tiles"] = lambda: read(compiled)
    _report(medians(work, rounds))


def _compiled(model: nn.Module) -> nn.Module | None:
    """Return the model on AIHWKit's C++ tiles; None where its wheel does not go with this torch."""
    from aihwkit.nn.conversion import convert_to_analog
    from aihwkit.simulator.configs import InferenceRPUConfig

    config, same = InferenceRPUConfig(), configuration()
    config.mapping, config.forward = same.mapping, same.forward
    try:
        return convert_to_analog(model, config).eval()
    except RuntimeError as error:
        report("not measured: C++ tiles", reason=str(error))
        return None


def beside_lightning(
    model: nn.Module,
) -> tuple[tuple[nn.Module, Callable[[], None]], tuple[nn.Module, Callable[[], None]]]:
    """Return a model there and here, on the same hardware: each with what follows its steps."""
    from aihwkit_lightning.nn.conversion import convert_to_analog
    from aihwkit_lightning.simulator.configs import (
        TorchInferenceRPUConfig,
        WeightClipType,
        WeightNoiseInjectionType,
    )

    config = TorchInferenceRPUConfig()
    config.forward.inp_res = config.forward.out_res = 254
    config.forward.out_bound = 10.0
    config.clip.type, config.clip.sigma = WeightClipType.LAYER_GAUSSIAN_PER_CHANNEL, 2.5
    config.modifier.noise_type = WeightNoiseInjectionType.ADD_NORMAL_PER_CHANNEL
    config.modifier.std_dev = 0.03
    config.pre_post.input_range.enable = True
    found = from_aihwkit_lightning(config)
    assert found.recipe is not None
    recipe = found.recipe
    analog = convert_to_analog(model, config).train()
    chip = recipe.prepare(model, found.hardware)

    def clip() -> None:
        for layer in analog.analog_layers():
            layer.clip_weights()

    return (analog, clip), (chip, lambda: recipe.after_step(chip))


def lightning_speed(rounds: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    x, y = torch.rand(128, 784), torch.randint(10, (128,))
    (analog, clip), (chip, after_step) = beside_lightning(model)

    def step(net: nn.Module, after: Callable[[], None]) -> Callable[[], None]:
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)

        def one() -> None:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            after()

        return one

    work = {
        "digital step": step(model, lambda: None),
        "lightning step": step(analog, clip),
        "mho step": step(chip, after_step),
    }
    _report(medians(work, rounds))


def _report(found: dict[str, float]) -> None:
    digital = next(iter(found.values()))
    for name, seconds in found.items():
        report(name, milliseconds=round(1e3 * seconds, 2), ratio=round(seconds / digital, 2))


def main() -> None:
    number = {"type": int}
    given = options(__doc__, rounds=11, chips=number, epochs=number)
    chips = given.chips or (2 if given.quick else 10)
    missing = [n for n in ("aihwkit", "aihwkit_lightning") if importlib.util.find_spec(n) is None]
    if missing:
        report("not installed", tools=missing)
    if "aihwkit" not in missing:
        x, y, tests, labels = digits()
        model = trained(x, y, given.epochs or (10 if given.quick else 40))
        report("accuracy, digital", accuracy=round(accuracy(model, tests, labels), 2))
        for noise in ((1.0, 1.0), (4.0, 4.0), (8.0, 8.0), (8.0, 0.0)):
            aihwkit_accuracy(model, tests, labels, chips, *noise)
        aihwkit_speed(given.rounds)
    if "aihwkit_lightning" not in missing:
        lightning_speed(given.rounds)


if __name__ == "__main__":
    main()

"""Two processes, each with a chip of its own, that learn from all samples."""

import pathlib
import sys

import pytest
import torch

import two_processes

HERE = pathlib.Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return two_processes.run(HERE / "chips_worker.py", tmp_path_factory.mktemp("chips"))


@pytest.fixture(scope="module")
def worker():
    sys.path.insert(0, str(HERE))
    try:
        import chips_worker
    finally:
        sys.path.remove(str(HERE))
    return chips_worker


def test_ideal_chips_learn_what_one_process_would_of_all_data(runs, worker):
    model = worker.network()
    optimizer = torch.optim.SGD(model.parameters(), 0.2)
    for _ in range(worker.STEPS):
        optimizer.zero_grad()
        sum(worker.loss_of(model, part) / 2 for part in worker.PARTS).backward()
        optimizer.step()
    for run in runs:
        found = run["ideal"]["weights"]
        torch.testing.assert_close(found, worker.flat(model), rtol=0, atol=1e-4)


def test_few_outer_products_are_fewer_bytes_and_near(runs, worker):
    start = worker.flat(worker.network())
    for run in runs:
        whole, few = run["ideal"], run["few products"]
        assert few["sent"] < whole["sent"]
        assert few["full"] == whole["full"]
        moved = (whole["weights"] - start).norm()
        assert (few["weights"] - whole["weights"]).norm() < 0.2 * moved


@pytest.mark.parametrize("kind", ["pulsed", "tiki-taka", "in situ"])
def test_chips_differ_and_both_learn(runs, kind):
    first, second = (run[kind] for run in runs)
    apart = (first["weights"] - second["weights"]).abs()
    assert (apart > 0).float().mean() > 0.9
    for found in (first, second):
        assert found["after"] < 0.6 * found["before"], found["after"]


@pytest.mark.parametrize("kind", ["pulsed", "tiki-taka", "in situ"])
def test_averaged_chips_are_a_step_from_the_mean(runs, kind):
    first, second = (run[kind] for run in runs)
    mean = (first["weights"] + second["weights"]) / 2
    step = 2 * 2e-7 / 100e-6  # of the weights
    for found in (first, second):
        assert float((found["averaged"] - mean).abs().mean()) < step


def test_what_is_not_finite_in_one_process_is_passed_by_in_both(runs):
    for run in runs:
        assert run["poisoned"] == {"passed by": True, "others moved": True}

"""Two processes that share one model (FSDP2, DDP): they train, program and save what one would."""

from pathlib import Path

import pytest
import torch

if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

import mho
import sharded_worker as worker
import two_processes

WORKER = Path(worker.__file__)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What two processes found."""
    return two_processes.run(WORKER, tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="module")
def alone():
    """The same training in one process, on the whole batch."""
    model = worker.network(worker.CONVERTED)
    worker.train(model, slice(None))
    mho.program(model)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["cells", "ddp cells"])
def test_training_without_noise_is_that_of_one_process(runs, alone, way):
    for found in runs:
        for name, crossbar in mho.crossbars(alone).items():
            torch.testing.assert_close(found[way][name], crossbar.G, rtol=1e-4, atol=1e-10)


@pytest.mark.slow
def test_the_full_state_belongs_to_a_model_of_one_process(runs, alone):
    x, _ = worker.data()
    assert set(runs[0]["state"]) == set(alone.state_dict())
    fresh = worker.network(worker.CONVERTED)
    fresh.load_state_dict(runs[0]["state"])
    assert torch.equal(fresh.eval()(x), runs[0]["after"])
    for name, value in alone.named_parameters():
        torch.testing.assert_close(runs[0]["state"][name], value.detach(), rtol=1e-4, atol=1e-6)
    shifts = [v for k, v in runs[0]["state"].items() if k.endswith("range_shift")]
    assert shifts
    assert all(bool(v.abs().sum() > 0) for v in shifts)  # learned ranges have moved
    assert mho.collapse(fresh)(x).isfinite().all()


@pytest.mark.slow
def test_a_sharded_model_takes_the_state_of_one_process(runs, alone):
    x, _ = worker.data()
    for found in runs:
        torch.testing.assert_close(found["loaded"], alone(x).detach(), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_programming_reaches_the_cells_and_nobody_warns_of_tensors_that_fsdp_exchanges(runs):
    for found in runs:
        assert not torch.equal(found["before"], found["after"])
        assert not [text for text in found["warned"] if "programmed" in text]
        assert "convert it first" in found["convert"]
        assert "full state_dict" in found["collapse"]
        assert "head" in found["summary"]


@pytest.mark.slow
def test_a_model_that_no_process_holds_whole(runs):
    """Meta device, FSDP2, a distributed checkpoint, training, cells: as in one process."""
    wanted = worker.train_language(worker.language(worker.CONVERTED), slice(None))
    for found in runs:
        torch.testing.assert_close(found["large"], wanted, rtol=1e-3, atol=1e-4)
        assert found["large half"].dtype is torch.bfloat16
        assert torch.equal(found["large half"], runs[0]["large half"])
        assert bool(found["large half"].isfinite().all())


@pytest.mark.slow
@pytest.mark.parametrize("way", ["noisy", "ddp noisy"])
def test_every_process_has_the_same_chip_and_its_own_training_noise(runs, way):
    one, two = runs
    for name, g in one[f"{way} cells"].items():
        assert torch.equal(g, two[f"{way} cells"][name])
    assert torch.equal(one[f"{way} read"], two[f"{way} read"])
    assert not torch.equal(one["drawn"], two["drawn"])


@pytest.mark.slow
def test_recipes_in_two_processes_train_one_model_each_with_its_own_noise(runs):
    one, two = (found["recipe"] for found in runs)
    # Ranks that are seeded alike draw noise of their own.
    assert not torch.equal(one["seen"], two["seen"])
    assert one["losses"] != two["losses"]
    for name, g in one["cells"].items():  # the chip is one and the same
        assert torch.equal(g, two["cells"][name])
    assert torch.equal(one["read"], two["read"])
    for name, grad in one["grads"].items():
        assert torch.equal(grad, two["grads"][name]), name
        assert torch.equal(one["weights"][name], two["weights"][name]), name
    assert sum(one["losses"][-5:]) < 0.9 * sum(one["losses"][:5])
    # Input ranges that each found in its own first batches are the mean of all.
    assert torch.equal(one["ranges"], two["ranges"])
    torch.testing.assert_close(one["sharded ranges"], one["ranges"])  # by FSDP, and by DDP
    mean = torch.cat([found["seen"][:3] for found in (one, two)]).mean()
    assert torch.allclose(one["ranges"][0], mean)

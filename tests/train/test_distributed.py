"""Factors instead of gradients between processes: same result, fewer bytes."""

import copy
import importlib.util
import pathlib
import pickle

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import two_processes
from mho.decomposition import FullSVD, StreamingBatchPCA, TruncatedSVD
from mho.devices import ConstantStep
from mho.train import PulsedSGD
from mho.train.distributed import LowRankState, SharedSamples, low_rank_hook

WORKER = pathlib.Path(__file__).with_name("ddp_worker.py")
STEPS = 12
# Weights and biases of the worker's network, as matrices [out, in].
SHAPES = [(8, 9), (32, 288), (10, 32)]
VECTORS = 8 + 32 + 10


def load_worker():
    spec = importlib.util.spec_from_file_location("ddp_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What two processes found, run by run."""
    return two_processes.run(WORKER, tmp_path_factory.mktemp("ddp"))


@pytest.mark.slow
def test_both_processes_agree_bit_for_bit(runs):
    for name in runs[0]:
        assert torch.equal(runs[0][name]["weights"], runs[1][name]["weights"]), name


@pytest.mark.slow
def test_full_rank_equals_one_process(runs):
    worker = load_worker()
    alone = worker.train(worker.network(), slice(None))
    for name in ("plain", "full"):
        torch.testing.assert_close(runs[0][name]["weights"], alone, rtol=0, atol=1e-13)


@pytest.mark.slow
def test_bytes_are_counted(runs):
    whole = (sum(out * wide for out, wide in SHAPES) + VECTORS) * 8 * STEPS

    def sent(rank):
        numbers = sum(
            min(rank * (out + wide), out * wide) if rank <= min(out, wide) else out * wide
            for out, wide in SHAPES
        )
        return (numbers + VECTORS) * 8 * STEPS

    expected = {"svd": sent(4), "sbpca": sent(3), "nmf": sent(4), "resumed": sent(3)}
    expected["rank too large"] = sent(20)
    for name, bytes_sent in expected.items():
        assert runs[0][name]["full"] == whole
        assert runs[0][name]["sent"] == bytes_sent, name
    assert sent(4) < 0.2 * whole
    # All factors of a full-rank decomposition, because it was asked for.
    full = sum(min(s) * sum(s) for s in SHAPES) + VECTORS
    assert runs[0]["full"]["sent"] == full * 8 * STEPS


@pytest.mark.slow
def test_low_rank_stays_near_and_feedback_brings_it_nearer(runs):
    plain = runs[0]["plain"]["weights"]
    start = torch.cat([p.detach().flatten() for p in load_worker().network().parameters()])
    moved = (plain - start).norm()
    far = {name: float((runs[0][name]["weights"] - plain).norm() / moved) for name in runs[0]}
    assert far["svd"] < far["svd without feedback"]
    assert far["svd"] < 0.3
    assert far["sbpca"] < 0.7
    assert far["nmf"] < 0.7


@pytest.mark.slow
def test_resumed_exactly(runs):
    assert torch.equal(runs[0]["resumed"]["weights"], runs[0]["sbpca"]["weights"])


@pytest.mark.slow
def test_nan_of_one_is_seen_by_all_and_not_remembered(runs):
    for found in runs:
        assert found["poisoned"]["seen"]
        assert found["poisoned"]["clean"]
        assert found["poisoned"]["weights"].isfinite().all()


# ── one process is a group, too ──────────────────────────────────────────────────────────────


@pytest.fixture
def group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/init", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def step(model, x):
    model.zero_grad()
    model(x).square().sum().backward()
    return [p.grad.clone() for p in model.parameters()]


def test_what_is_left_out_is_made_good(group):
    """With error feedback, what was sent sums up to what was to be sent, but for the last rest."""
    torch.manual_seed(0)
    layer = nn.Linear(12, 9).double()
    x = torch.randn(7, 12, dtype=torch.float64)
    whole = step(layer, x)[0]
    model = DistributedDataParallel(layer)
    state = LowRankState(model, TruncatedSVD(2))
    model.register_comm_hook(state, low_rank_hook)
    sent = [step(model, x) for _ in range(30)]
    rest = state.state_dict()["residuals"]["weight"]
    torch.testing.assert_close(sum(s[0] for s in sent) + rest, 30 * whole)
    # The rest does not grow: directions take turns.
    assert rest.norm() < 5 * whole.norm()
    best = torch.linalg.svdvals(whole)[2:].norm()
    torch.testing.assert_close((sent[0][0] - whole).norm(), best)
    torch.testing.assert_close(sent[-1][1], step(layer, x)[1])  # the bias is whole


def test_dtypes_and_convolutions(group):
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        layer = nn.Conv2d(3, 16, 3).to(dtype)
        x = torch.randn(4, 3, 6, 6, dtype=dtype)
        whole = step(layer, x)[0]
        model = DistributedDataParallel(layer)
        state = LowRankState(model, FullSVD(), only_if_smaller=False)
        model.register_comm_hook(state, low_rank_hook)
        found = step(model, x)[0]
        assert found.dtype == dtype
        size = float(whole.abs().max())
        torch.testing.assert_close(found, whole, rtol=0, atol=50 * torch.finfo(dtype).eps * size)
        assert state.bytes_full == 16 * 28 * dtype.itemsize


def test_state_of_another_model_is_refused():
    state = LowRankState(nn.Linear(12, 9), StreamingBatchPCA(2))
    with pytest.raises(ValueError, match="missing"):
        state.load_state_dict({"residuals": {}})
    good = state.state_dict()
    with pytest.raises(ValueError, match="another model"):
        state.load_state_dict({**good, "residuals": {"stranger": torch.zeros(1)}})
    stranger = nn.Parameter(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="not one of the model"):
        state.factors(stranger, stranger)


def test_refused_arguments():
    with pytest.raises(TypeError, match="decomposition must be Decomposition"):
        LowRankState(nn.Linear(2, 2), 4)
    with pytest.raises(TypeError, match="model must be Module"):
        LowRankState(None, FullSVD())
    with pytest.raises(TypeError, match="error_feedback must be bool"):
        LowRankState(nn.Linear(2, 2), FullSVD(), error_feedback=1)


def test_an_optimizer_of_a_wrapped_model_is_copied_and_pickled(group):
    device = ConstantStep(g_min=1e-6, g_max=101e-6, step=1e-7)
    model = DistributedDataParallel(nn.Linear(4, 3))
    optimizer = PulsedSGD(model, 0.1, device=device)
    x = torch.rand(5, 4)

    def stepped(model, optimizer):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        return model.module.weight.detach()

    stepped(model, optimizer)
    twins = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    own = stepped(model, optimizer)
    for twin in twins:
        assert isinstance(twin[1].exchange, SharedSamples)
        assert torch.equal(stepped(*twin), own)
    some = dist.new_group([0])
    optimizer.exchange = SharedSamples(process_group=some)
    assert copy.deepcopy(optimizer).exchange.process_group is some
    with pytest.raises(TypeError, match="some processes cannot be pickled"):
        pickle.dumps(optimizer)

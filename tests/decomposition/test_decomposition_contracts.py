"""All decompositions obey the contract; the kit catches those that do not."""

import importlib.util
import math
import pathlib

import pytest
import torch

from mho.decomposition import (
    NMF,
    Decomposition,
    Factors,
    FullOuterProduct,
    FullSVD,
    StreamingBatchPCA,
    TruncatedSVD,
)
from mho.testing.decomposition import DecompositionContract


class TestFullOuterProduct(DecompositionContract):
    forgets = True

    def decomposition(self):
        return FullOuterProduct()


class TestFullSVD(DecompositionContract):
    forgets = True

    def decomposition(self):
        return FullSVD()


class TestTruncatedSVD(DecompositionContract):
    forgets = True

    def decomposition(self):
        return TruncatedSVD(3)


class TestTruncatedSVDOfRankOne(TestTruncatedSVD):
    def decomposition(self):
        return TruncatedSVD(1)


class TestStreamingBatchPCA(DecompositionContract):
    def decomposition(self):
        return StreamingBatchPCA(3, sub_batch=4)


class TestStreamingBatchPCAOneByOne(DecompositionContract):
    def decomposition(self):
        return StreamingBatchPCA(4, sub_batch=1, carry=0)


class TestStreamingBatchPCAForever(DecompositionContract):
    def decomposition(self):
        return StreamingBatchPCA(1, sub_batch=99, carry=math.inf, seed=3)


class TestNMF(DecompositionContract):
    forgets = True
    accuracy = 1e-2  # it iterates

    def decomposition(self):
        return NMF(3)


class TestStreamingNMF(DecompositionContract):
    accuracy = 1e-2

    def decomposition(self):
        return NMF(2, streaming=True, iterations=5)


EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "custom_decomposition.py"


class TestExample(DecompositionContract):
    def decomposition(self):
        spec = importlib.util.spec_from_file_location("custom_decomposition", EXAMPLE)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.PowerIteration(3)


class _Own(Decomposition):
    """The largest rows only: a decomposition of one's own, right or wrong in some way."""

    def factors(self, input, delta, gradient, key):
        best = gradient.abs().sum(1).topk(2).indices
        eye = torch.eye(len(gradient), dtype=gradient.dtype)
        return Factors(eye[:, best], gradient[best].T)


class TestOwn(DecompositionContract):
    accuracy = None
    forgets = True

    def decomposition(self):
        return _Own()


class _Meddler(_Own):
    def factors(self, input, delta, gradient, key):
        gradient.mul_(2)
        return super().factors(input, delta, gradient, key)


class _Forgetful(_Own):
    def __init__(self):
        self._calls = 0

    def factors(self, input, delta, gradient, key):
        self._calls += 1  # not in its memory
        return super().factors(input, delta, gradient * self._calls, key)


class _Mixer(_Own):
    def factors(self, input, delta, gradient, key):
        memory = self.memory("all layers")
        memory["calls"] = memory.get("calls", 0) + 1
        return super().factors(input, delta, gradient * memory["calls"], key)


class _Mean(_Own):
    def factors(self, input, delta, gradient, key):
        return Factors(-gradient, torch.eye(gradient.shape[1], dtype=gradient.dtype))


class _Turned(_Own):
    def factors(self, input, delta, gradient, key):
        found = super().factors(input, delta, gradient, key)
        return Factors(found.right, found.left)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (_Meddler, "test_arguments_are_left_alone"),
        (_Forgetful, "test_saved_and_loaded_in_mid_run"),
        (_Mixer, "test_layers_do_not_know_of_one_another"),
        (_Mean, "test_a_better_approximation_than_nothing"),
        (_Turned, "test_factors_are_of_the_gradients_shape"),
    ],
)
def test_the_kit_catches(broken, test):
    kit = type("Kit", (DecompositionContract,), {"decomposition": lambda self: broken()})()
    with pytest.raises(AssertionError, match=r"expected .*found"):
        getattr(kit, test)()


def test_names_of_arguments():
    x, d = torch.ones(3, 5), torch.ones(3, 4)
    result = FullOuterProduct().decompose(
        input=x, delta=d, gradient=torch.zeros(4, 5), group_param_idx=7
    )
    assert torch.equal(result, torch.full((4, 5), 3.0))  # a sum over samples, not a mean


def test_factors_refuse_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\[out, rank\].*\[4, 2\] and \[5, 3\]"):
        Factors(torch.ones(4, 2), torch.ones(5, 3))
    factors = Factors(torch.ones(4, 2), torch.ones(5, 2))
    assert (factors.rank, factors.numel, len(factors.split())) == (2, 18, 2)


def test_loading_something_else_is_refused():
    with pytest.raises(ValueError, match="state_dict"):
        TruncatedSVD(2).load_state_dict({"weight": torch.ones(2)})


def test_printed_parameters():
    assert (
        repr(StreamingBatchPCA(2)) == "StreamingBatchPCA(rank=2, sub_batch=32, carry=1.0, seed=0)"
    )

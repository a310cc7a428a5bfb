"""Truth values are truth values wherever a function asks for one, as they are in every spec."""

import numpy as np
import pytest
import torch

import mho
import public

# Not a user's, or torch's own, and judged there.
EXCEPT = {
    "AnalogLayer.train mode": "torch's",
    "ADC.measure spread": "reads call it",
    "CellsContract.cells broken": "of tests",
    "CellsContract.lived broken": "of tests",
    "ChipArchitecture.assumptions mapped": "`cost` calls it",
    "ChipArchitecture.missing amplified": "`cost` calls it",
    "Crossbar.train mode": "torch's",
    "FailedChipsError.__init__ kept": "its raiser's",
    "InSitu.zero_grad set_to_none": "torch's",
    "InputRangeRule.refuse known": "reads call it",
    "MultiheadAttention.forward average_attn_weights": "torch's",
    "MultiheadAttention.forward is_causal": "torch's",
    "MultiheadAttention.forward need_weights": "torch's",
    "PulsedOptimizer.zero_grad set_to_none": "torch's",
    "QuantisedOptimizer.zero_grad set_to_none": "torch's",
    "RayExecutor.shutdown cancel_futures": "of `concurrent.futures`",
    "RayExecutor.shutdown wait": "of `concurrent.futures`",
    "Technology.assumptions mapped": "`cost` calls it",
    "packed by_chance": "its callers are methods",
}
WRONG = ("false", 0, 1, None, 1.0, np.int64(1), torch.ones(2, dtype=torch.bool))
HARDWARE = mho.Hardware()


def test_every_public_truth_value_is_asked_for():
    found, walked = public.unchecked_truths(public.callables())
    short = {".".join(f"{name}".rsplit(".", 2)[-2:]).removeprefix("change.").removeprefix("kept.")
             for name in found}  # fmt: skip
    assert walked > 40
    assert short == set(EXCEPT)


MODEL = mho.convert(torch.nn.Linear(3, 2), HARDWARE)
X = torch.rand(4, 3)
CALLS = {
    "bias": lambda flag: mho.nn.Linear(3, 2, bias=flag, hardware=HARDWARE),
    "bias ": lambda flag: mho.nn.Conv2d(3, 2, 1, bias=flag, hardware=HARDWARE),
    "correct": lambda flag: mho.calibrate(MODEL, X, correct=flag),
    "unbiased": lambda flag: mho.calibrate(MODEL, X, unbiased=flag),
    "trim": lambda flag: mho.calibrate(MODEL, X, trim=flag),
    "program": lambda flag: mho.convert(torch.nn.Linear(3, 2), HARDWARE, program=flag),
    "embeddings": lambda flag: mho.convert(torch.nn.Linear(3, 2), HARDWARE, embeddings=flag),
    "check_memory": lambda flag: mho.convert(torch.nn.Linear(3, 2), HARDWARE, check_memory=flag),
    "times": lambda flag: mho.estimate(torch.nn.Linear(3, 2), HARDWARE, X, times=flag),
    "fabricated": lambda flag: mho.Crossbar(3, 2, HARDWARE, fabricated=flag),
}


def state():
    """What a refused call must leave, NaN and all."""
    found = {key: value for key, value in MODEL.state_dict().items() if torch.is_tensor(value)}
    return {key: value.nan_to_num(nan=-7.5).clone() for key, value in found.items()}


@pytest.mark.parametrize("name", CALLS)
def test_other_values_are_refused_by_name(name):
    before = state()
    for wrong in WRONG:
        with pytest.raises(TypeError, match=rf"{name.strip()} must be bool"):
            CALLS[name](wrong)
    assert all(torch.equal(value, state()[key]) for key, value in before.items())


@pytest.mark.parametrize("flag", [np.bool_(False), torch.tensor(False), np.array(False)])
def test_numpy_s_and_torch_s_are_taken(flag):
    assert mho.nn.Linear(3, 2, bias=flag, hardware=HARDWARE).bias is None

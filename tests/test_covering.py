"""Every two parts of the package meet, in cases sampled anew in every run.

Another seed is another covering: ``MHO_COVERING_SEED=7 pytest tests/test_covering.py`` repeats the
one that a failure names.
"""

import itertools
import os
import secrets
import traceback

import pytest
import torch

import invariants
import menu
import pairs

SEED = int(os.environ.get("MHO_COVERING_SEED", secrets.randbelow(10**6)))
SHARDS = 4
# What may be let go where hardware is refused: as little as possible.
GIVEN_UP = {
    "programming": "own",
    "scaling": "columns",
    "array": "large",
    "dac": "none",
    "adc": "none",
    "amplifier": "none",
    "bias": "digital",
}


# Where that is not enough (pairs that are compared bear no noise of reads), these too.
LAST = ({}, {"effects": "none"}, {"device": "linear"}, {"device": "linear", "effects": "none"})


def cases():
    return pairs.covering(menu.CHOICES, pairs.seeded(SEED), tries=1)


def accepted(case):
    """Return the nearest case that hardware does not refuse, its hardware, and the refusals."""
    refused = []
    counts = range(len(GIVEN_UP) + 1)
    choices = [k for count in counts for k in itertools.combinations(GIVEN_UP, count)]
    for last, kinds in itertools.product(LAST, choices):
        nearest = {**case, **{kind: GIVEN_UP[kind] for kind in kinds}, **last}
        try:
            return nearest, menu.hardware_of(nearest), refused
        except (TypeError, ValueError) as error:
            refused.append(str(error))
    raise AssertionError(f"refused whatever is given up: {refused}")


def failures(case):
    """Return what is wrong in a case, by invariant."""
    case, hardware, _ = accepted(case)
    found, x, what = {}, menu.given(case["layer"]), "building"
    try:
        model = menu.built(case["layer"], hardware, 1)
        what = "action"
        made = menu.ACTIONS[case["action"]](model, x)
        model = made if isinstance(made, torch.nn.Module) else model
        model.eval()
    except Exception:
        return {what: traceback.format_exc(limit=-4)}
    x = x.to(next(iter(invariants.crossbars(model))).G.dtype)

    def check(name, invariant, *args):
        try:
            wrong = invariant(*args)
        except Exception:
            wrong = traceback.format_exc(limit=-4)
        if wrong:
            found[name] = wrong

    fresh = menu.built(case["layer"], hardware, 2).to(x.dtype)
    check("round trip", invariants.round_trip, model, x, hardware, fresh)
    for name, invariant in invariants.AFTER.items():
        check(name, invariant, model, x, hardware)
    x = menu.given(case["layer"])
    for name, invariant in invariants.OF_CASES.items():
        check(name, invariant, case, x, hardware)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shard", range(SHARDS))
def test_whatever_meets_keeps_the_invariants(shard):
    broken = []
    for number, case in enumerate(cases()[shard::SHARDS]):
        found = failures(case)
        broken += [f"case {shard + SHARDS * number} {case}\n  {n}: {w}" for n, w in found.items()]
    assert not broken, f"MHO_COVERING_SEED={SEED}\n" + "\n".join(broken)


LIVES = {
    "device": ("linear", "from zero", "spread", "pcm", "wan", "cmo", "exponential", "vteam"),
    "effects": (
        *("none", "stuck", "writing", "cycles", "drift", "retention", "telegraph"),
        *("lasting", "relaxation"),
    ),
    "encoding": ("differential", "single", "sliced", "lea"),
    "layer": ("linear", "groups"),
    "array": ("large", "tiles", "wires"),
    "adc": ("none", "full scale"),
    "age": ("new", "aged", "compensated"),
}


@pytest.mark.filterwarnings("ignore")
def test_training_sees_chips_as_they_are_made():
    source, broken = pairs.seeded(SEED), []
    for chosen in source.sample(pairs.covering(LIVES, source, tries=1), 5):
        case = {
            **{"scaling": "largest", "dac": "none", "programming": "own", "bias": "digital"},
            **chosen,
            "seconds": 0.0 if chosen["age"] == "new" else 1e4,
            "compensated": chosen["age"] == "compensated",
        }
        torch.manual_seed(SEED)
        wrong = invariants.trained_as_fabricated(case, menu.given(case["layer"], 3)[[0, 2]])
        broken += [f"{case}: {wrong}"] if wrong else []
    assert not broken, f"MHO_COVERING_SEED={SEED}\n" + "\n".join(broken)


@pytest.mark.filterwarnings("ignore")
def test_training_reads_failed_cells_with_the_noise_of_what_was_written():
    """Not with that of what they conduct since: a failed cell's conductance tells no state."""
    case = {
        **{"device": "pcm", "effects": "retention", "encoding": "single", "layer": "linear"},
        **{"scaling": "largest", "dac": "none", "adc": "none", "programming": "own"},
        **{"bias": "digital", "array": "large", "seconds": 1e4, "compensated": False},
    }
    assert not invariants.trained_as_fabricated(case, menu.given("linear", 3)[[0, 2]])


def test_the_covering_covers():
    known = {frozenset(pair) for case in cases() for pair in pairs.couples(case)}
    for one, two in ((a, b) for a in menu.CHOICES for b in menu.CHOICES if a < b):
        for x in menu.CHOICES[one]:
            for y in menu.CHOICES[two]:
                assert frozenset({(one, x), (two, y)}) in known


def test_refusals_say_why():
    told = [text for case in cases() for text in accepted(case)[2]]
    assert told
    assert all(len(text) > 20 for text in told)

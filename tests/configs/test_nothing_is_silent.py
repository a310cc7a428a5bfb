"""A setting of a source is changed: something follows, or the account says why not."""

import copy

import pytest

from configs.texts import AIHWKIT, LIGHTNING, PARAM, crosssim
from mho.compat.configs import (
    from_aihwkit,
    from_aihwkit_lightning,
    from_crosssim,
    from_neurosim,
)
from mho.compat.configs.neurosim_text import assignments
from mho.compat.configs.printed import Node, flatten, node_of, parse

NEUTRAL = "at a value of no effect"
# Other values that mean the same: no bound at all, and the largest weight, which is 1 there.
SAME = {"clip.fixed_value", "modifier.rel_to_actual_wmax"}


def other(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 3
    if isinstance(value, float):
        return value * 1.5 + 0.25
    if isinstance(value, str):
        return "SOMETHING_ELSE"
    return 1.0 if value is None else [*value, 0.1]


def set_node(node, path, value):
    head, _, rest = path.partition(".")
    inner = set_node(node.values.get(head, Node(head, {})), rest, value) if rest else value
    return Node(node.kind, {**node.values, head: inner})


def set_mapping(values, path, value):
    changed = copy.deepcopy(values)
    *groups, last = path.split(".")
    inner = changed
    for group in groups:
        inner = inner.setdefault(group, {})
    inner[last] = value
    return changed


FLAGS = {"vari": 0.1, "t": 0, "v": 0, "detect": 0, "target": 0, "onoffratio": 17.0, "subArray": 64,
         "ADCprecision": 5, "wl_weight": 8, "wl_activate": 8}  # fmt: skip
LEARNING = {"nonlinearityLTP": 1.75, "nonlinearityLTD": 1.46, "max_level": 32, "c2cVari": 0.003,
            "d2dVari": 0.1, "cellBit": 5, "wl_weight": 5}  # fmt: skip
PARAMETERS = {k: v for k, v in assignments(PARAM).items() if not isinstance(v, str)}
WIRED = {"enable": True, "Rp_row": 1.0, "Rp_col": 1.0, "gate_input": False}
SOURCES = {
    "aihwkit": (from_aihwkit, parse(AIHWKIT, "it"), set_node),
    "aihwkit without ranges": (
        from_aihwkit,
        set_node(parse(AIHWKIT, "it"), "pre_post.input_range.enable", False),
        set_node,
    ),
    "lightning": (from_aihwkit_lightning, parse(LIGHTNING, "it"), set_node),
    "crosssim": (from_crosssim, crosssim(xbar__array__parasitics=WIRED), set_mapping),
    "crosssim, sliced": (
        from_crosssim,
        crosssim(core__style=2, core__weight_bits=8, xbar__dac__mvm__input_bitslicing=True),
        set_mapping,
    ),
    "neurosim": (from_neurosim, {**PARAMETERS, **FLAGS}, set_mapping),
    "neurosim that learns": (from_neurosim, {**PARAMETERS, **LEARNING}, set_mapping),
}


def outcome(found):
    lost = [(entry.setting, entry.value) for entry in found.lost]
    return found.hardware, found.recipe, found.technology, lost


def groups_of(given):
    """Names of groups, whose value is the name of a class: no settings."""
    if not isinstance(given, Node):
        return set()
    names = [name for name, _ in flatten(node_of(given, "it"))]
    return {name for name in names if any(other.startswith(f"{name}.") for other in names)}


@pytest.mark.parametrize("source", SOURCES)
def test_every_setting_acts_is_refused_or_is_accounted_for(source):
    read, given, change = SOURCES[source]
    before = read(given)
    entries = {entry.setting: entry for entry in (*before.matched, *before.unmatched)}
    silent = []
    for name, entry in entries.items():
        if name in groups_of(given) or name in ("noise_model", "device", "update", "backward"):
            continue
        try:
            after = read(change(given, name, other(entry.value)))
        except (TypeError, ValueError):
            continue  # refused
        if outcome(after) != outcome(before):
            continue
        now = next(e for e in (*after.matched, *after.unmatched) if e.setting == name)
        said = now.note if hasattr(now, "note") else now.reason != NEUTRAL
        if not said:
            silent.append(name)
    assert set(silent) <= SAME

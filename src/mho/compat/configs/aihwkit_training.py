"""How AIHWKit's inference configurations train: noise on weights, clipping, input ranges."""

from __future__ import annotations

from typing import Any

from mho.compat.configs.translation import Account
from mho.crossbar.input_range import InputRangeRule
from mho.crossbar.training import NoiseInjection
from mho.effects.programming import WriteNoise
from mho.periphery.dac import DAC
from mho.train.recipes.recipe import DropConnect, Recipe

_R = "pre_post.input_range."
_M = "modifier."
_COUNTED = ("ADD_NORMAL", "DISCRETIZE_ADD_NORMAL")
_KINDS = (
    "NONE", "COPY", "DROP_CONNECT", "ADD_NORMAL", "MULT_NORMAL", "DISCRETIZE",
    "DISCRETIZE_ADD_NORMAL", "DOREFA", "POLY", "PCM_NOISE", "PROG_NOISE",
)  # fmt: skip
_OF_PCM = (
    "g_max", "pcm_zero_thres", "pcm_t_inference", "pcm_prob_at_reset", "pcm_prob_at_gmax",
    "pcm_prob_at_random", "pcm_t0",
)  # fmt: skip


def recipe_of(account: Account, *, per_column: bool, weight: float, dac: DAC | None) -> Recipe:
    """Return the recipe, and account for what it is made of.

    Noise models act there in inference alone, so training sees perfect cells here, too.

    Args:
        account: of all settings.
        per_column: whether every column has a scale of its own.
        weight: that fills the window, in the tile's units.
        dac: the drivers; None for perfect ones.
    """
    injection = _injection(account, per_column=per_column, weight=weight)
    clip = _clip(account, weight)
    kind = account.value("remap.type", "NONE")
    if kind == "NONE":
        account.idle(
            [n for n in account.settings if n.startswith("remap.")], "there is no remapping"
        )
    elif kind not in ("LAYERWISE_SYMMETRIC", "CHANNELWISE_SYMMETRIC"):
        account.miss("remap.type", "not known to this reader")
    account.match("remap.type", "every read maps the weights onto the whole window")
    account.without(
        {
            "max_scale_range": (0.0, "scales of columns are free"),
            "max_scale_ref": (0.0, "of max_scale_range alone"),
        },
        "remap.",
    )
    return Recipe(
        name="aihwkit", injection=injection, ranges=_ranges(account, dac), clip=clip,
        source="a configuration of AIHWKit, translated",
    )  # fmt: skip


def _injection(account: Account, *, per_column: bool, weight: float) -> NoiseInjection:
    kind = str(account.value(_M + "type", "NONE"))
    dropped = account.number(_M + "pdrop")
    noise, of = _noise(account, kind, per_column=per_column, weight=weight)
    account.without(
        {
            "per_batch_sample": (False, "one draw a read, for all of its vectors"),
            "enable_during_test": (False, "eval reads what the chip holds"),
            "copy_last_column": (False, "an analog bias has noise as the weights have"),
        },
        _M,
    )
    rounding = kind in ("DISCRETIZE", "DISCRETIZE_ADD_NORMAL", "DOREFA")
    why = "weights are rounded by BitSliced or FiniteStates in the hardware, or mho.train.quantise"
    if rounding:
        account.miss([_M + "res", _M + "sto_round", _M + "dorefa_clip"], why)
    else:
        account.idle([_M + "res", _M + "sto_round", _M + "dorefa_clip"], "of rounding types alone")
    account.idle([_M + name for name in _OF_PCM], "of PCM_NOISE and PROG_NOISE alone")
    account.idle(_M + "coeffs", "of POLY and PROG_NOISE alone")
    effects: list[Any] = []
    if kind == "MULT_NORMAL" and account.number(_M + "std_dev"):
        sigma = account.number(_M + "std_dev")
        effects.append(WriteNoise(sigma, relative_to="value"))
        note = "the hardware's own programming error comes on top; there it does not train"
        account.match([_M + "type", _M + "std_dev"], f"WriteNoise({sigma:g}, 'value')", note)
    if dropped:
        effects.append(DropConnect(dropped))
        note = "" if effects[:-1] else "read noise of the device is seen, too; there it is not"
        account.match(_M + "pdrop", f"NoiseInjection(effects=(DropConnect({dropped:g}),))", note)
    account.idle(_M + "pdrop", "at a value of no effect")
    if kind not in _KINDS:
        account.miss([_M + "type", _M + "std_dev"], "not known to this reader")
    account.idle([_M + "type", _M + "std_dev"], "there is no noise on weights")
    if not effects:
        return NoiseInjection(perfect_cells=True, weight_noise=noise, weight_noise_of=of)
    own = 1.0 if kind == "MULT_NORMAL" and len(effects) > (dropped > 0) else 0.0
    return NoiseInjection(
        effects=tuple(effects), noise=own, weight_noise=noise, weight_noise_of=of,
    )  # fmt: skip


def _noise(account: Account, kind: str, *, per_column: bool, weight: float) -> tuple[float, str]:
    """Return the noise on weights, and of what it is a share."""
    sigma = account.number(_M + "std_dev")
    relative = bool(account.value(_M + "rel_to_actual_wmax", True))
    assumed = account.number(_M + "assumed_wmax", 1.0)
    if kind not in _COUNTED or not sigma:
        account.idle([_M + "rel_to_actual_wmax", _M + "assumed_wmax"], "of the noise alone")
        if kind in ("POLY", "PCM_NOISE", "PROG_NOISE") and sigma:
            why = "the error of the hardware's own device is NoiseInjection(noise=…), with cells"
            account.miss([_M + "type", _M + "std_dev", _M + "coeffs"], why)
            account.miss([_M + name for name in _OF_PCM], why)
        elif kind in ("DISCRETIZE", "DOREFA"):
            account.miss(_M + "type", "weights are rounded by the hardware's encoding here")
        return 0.0, "column"
    share = sigma if relative else sigma * assumed / weight
    of = "column" if per_column else "matrix"
    ours = f"NoiseInjection(weight_noise={share:g}, weight_noise_of={of!r})"
    names = [_M + "std_dev", _M + "rel_to_actual_wmax", _M + "type"]
    account.match(names, ours, "" if kind == "ADD_NORMAL" else "rounding of weights is left out")
    if relative:
        account.idle(_M + "assumed_wmax", "of rel_to_actual_wmax=False alone")
    account.match(_M + "assumed_wmax", ours)
    return share, of


def _clip(account: Account, weight: float) -> float | None:
    kind = account.value("clip.type", "NONE")
    sigma, fixed = account.number("clip.sigma", 2.5), account.number("clip.fixed_value", -1.0)
    if kind == "LAYER_GAUSSIAN":
        account.match(["clip.type", "clip.sigma"], f"Recipe(clip={sigma:g})")
        if fixed > 0:
            account.miss("clip.fixed_value", "weights have no fixed bound here")
        account.idle("clip.fixed_value", "at a value of no effect")
        return sigma
    remapped = account.value("remap.type", "NONE") != "NONE"
    if kind == "FIXED_VALUE" and remapped and fixed >= weight:
        names = ["clip.type", "clip.fixed_value"]
        account.match(names, "every read maps the weights onto the whole window")
    elif kind != "NONE":
        account.miss(
            ["clip.type", "clip.fixed_value"], "weights are clipped by their deviation here"
        )
    account.idle(
        [n for n in account.settings if n.startswith("clip.")], "of another type of clipping"
    )
    return None


def _ranges(account: Account, dac: DAC | None) -> str | InputRangeRule:
    names = [
        _R + name
        for name in ("init_from_data", "init_std_alpha", "decay", "input_min_percentage")
    ]  # fmt: skip
    account.without(
        {
            "manage_output_clipping": (False, "input ranges do not look at the outputs"),
            "gradient_scale": (1.0, "the optimizer's rate is the only factor on the range's step"),
            "gradient_relative": (True, "the step is relative to the range"),
            "calibration_info": (None, "a remark"),
        },
        _R,
    )
    account.idle(_R + "output_min_percentage", "of manage_output_clipping alone")
    if not account.value(_R + "enable", False):
        account.idle([*names, _R + "learn_input_range", _R + "init_value"], "of enable alone")
        return "as_given"
    if not account.value(_R + "learn_input_range", True):
        account.match(_R + "learn_input_range", "Recipe(ranges='calibrated')")
        account.idle(names, "of learn_input_range alone")
        account.miss(_R + "init_value", "a calibration finds the range; mho.compat.configs."
                     "set_input_ranges sets one")  # fmt: skip
        return "calibrated"
    if dac is None or dac.bits is None:
        account.miss([*names, _R + "learn_input_range"], "drivers that do not round learn no range")
        return "as_given"
    rule = InputRangeRule(
        batches=account.whole(names[0], 100),
        deviations=account.number(names[1], 3.0),
        decay=account.number(names[2], 0.001),
        unclipped=account.number(names[3], 0.95),
    )
    account.match([*names, _R + "learn_input_range"], f"Recipe(ranges={rule})")
    if rule.batches:
        account.idle(_R + "init_value", "of init_from_data=0 alone")
    else:
        account.miss(
            _R + "init_value", "the rule starts from a calibration where it has no batches"
        )
    return rule

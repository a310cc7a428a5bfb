"""CrossSim's parameters: `from_crosssim`.

Currents there are in units of one cell at its largest conductance ``1/Rmin`` under one full input.

Source: T. P. Xiao et al., "CrossSim: GPU-accelerated simulation of analog neural networks",
Sandia National Laboratories, https://cross-sim.sandia.gov; P. Xiao et al., "On the accuracy of
analog neural network inference accelerators", IEEE CAS Magazine 2022, doi
10.1109/MCAS.2022.3214409.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mho.circuit import Wires
from mho.compat.configs import crosssim_tables as tables
from mho.compat.configs.crosssim_cells import device_of, errors_of, states_beside_offset
from mho.compat.configs.crosssim_converters import adc_of, dac_of
from mho.compat.configs.translation import Account, Translation
from mho.core import checks, files
from mho.effects.base import Effect
from mho.effects.programming import FiniteStates
from mho.encoding.base import Encoding, Scaling
from mho.encoding.bit_sliced import BitSliced
from mho.encoding.differential import Differential
from mho.encoding.single_column import SingleColumn
from mho.hardware import Array, Hardware
from mho.periphery.amplifier import Amplifier

TOOL = "crosssim"
BALANCED, BITSLICED, OFFSET = 1, 2, 3
_UNSPLIT = 2**16


def from_crosssim(parameters: Any) -> Translation:
    """Translate CrossSim's parameters.

    Args:
        parameters: of a core, as ``CrossSimParameters.to_json`` writes them: the path of a file,
            its text, the mapping in it, or the parameters themselves (anything with ``as_dict``).

    Returns:
        The hardware and the account of all settings.

    Raises:
        TypeError: if it is none of these.
        ValueError: if the file is not JSON, or has none of the groups core and xbar.
    """
    given = _mapping(parameters)
    if not {"core", "xbar"} & set(given):
        raise ValueError(
            "parameters of CrossSim have the groups 'core', 'xbar' and 'simulation', got "
            f"{sorted(map(str, given))}"
        )
    account = Account(TOOL, tables.DEFAULTS | dict(_flat(given)))
    for name, codes in tables.CODES.items():
        value = account.value(name)
        if isinstance(value, str):
            if value not in codes:
                raise ValueError(f"{name} must be one of {sorted(codes)}, got {value!r}")
            account.settings[name] = codes[value]
    for name in ("xbar.device.Rmin", "xbar.device.Rmax"):
        checks.number(f"{TOOL}: {name}", account.number(name), above=0.0)
    checks.integer(
        f"{TOOL}: core.bit_sliced.num_slices", account.value("core.bit_sliced.num_slices")
    )
    return _translated(account)


def _mapping(parameters: Any) -> Mapping[str, Any]:
    if isinstance(parameters, str) and parameters.lstrip().startswith("{"):
        return _json(parameters, "the text")
    if isinstance(parameters, (str, Path)):
        return _json(files.text(parameters), str(parameters))
    if hasattr(parameters, "as_dict"):
        parameters = parameters.as_dict()
    if not isinstance(parameters, Mapping):
        raise TypeError(
            f"expected a path, a JSON text or a mapping, got {type(parameters).__name__}"
        )
    return parameters


def _json(text: str, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{where} holds no parameters, but {type(found).__name__}")
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", getattr(value, "value", value)


def _translated(account: Account) -> Translation:
    device, base = device_of(account)
    encoding = _encoding(account)
    effects = (*base, *_levels(account, encoding), *errors_of(account, device))
    dac = dac_of(account)
    adc = adc_of(account, dac, encoding, 1.0 / account.number("xbar.device.Rmin"))
    hardware = Hardware(
        device=device,
        encoding=encoding,
        array=_array(account, encoding),
        dac=dac,
        adc=adc,
        amplifier=_amplifier(account, dac.v_max),
        effects=effects,
    )
    account.idle("core.weight_bits", "of bit-sliced cores and granular ranges alone")
    account.without(tables.NEVER)
    for start, reason in tables.IDLE.items():
        account.idle([n for n in account.settings if n.startswith(start)], reason)
    _other_direction(account)
    return account.close(hardware)


def _encoding(account: Account) -> Encoding:
    percentile = account.number("core.mapping.weights.percentile", 1.0) if account.value(
        "core.mapping.weights.percentile"
    ) is not None else 1.0  # fmt: skip
    scaling = Scaling(percentile=100.0 * min(percentile, 1.0))
    note = "" if percentile == 1.0 else "of the magnitudes here; there of the signed values"
    if percentile > 1.0:
        note = f"weights there fill only 1/{percentile:g} of the window"
    account.match("core.mapping.weights.percentile", f"Scaling(percentile={scaling.percentile:g})",
                  note)  # fmt: skip
    style = account.whole("core.style", BALANCED)
    bits, slices = account.whole("core.weight_bits"), account.whole("core.bit_sliced.num_slices", 2)
    _idle_styles(account, style)
    if style == BITSLICED:
        return _sliced(account, scaling, bits, slices)
    if style == OFFSET:
        unit = account.whole("core.offset.style", 1) == 2
        note = "" if unit else "the offset is a real column, with its errors; there it is exact"
        account.match(["core.style", "core.offset.style"], "SingleColumn()", note)
        return SingleColumn(scaling=scaling)
    if style != BALANCED:
        raise ValueError(f"core.style must be 1, 2 or 3, got {style!r}")
    where = "analog" if account.value("core.balanced.subtract_current_in_xbar", True) else "digital"
    account.match(
        ["core.style", "core.balanced.subtract_current_in_xbar"], f"Differential({where!r})"
    )
    _sides(account)
    return Differential(scaling=scaling, subtract=where)


def _sides(account: Account) -> None:
    if account.whole("core.balanced.style", 1) == 1:
        account.match("core.balanced.style", "Differential(): the idle cell rests at g_min")
    account.miss("core.balanced.style", "the idle cell of a pair rests at g_min, as ONE_SIDED")


def _idle_styles(account: Account, style: int) -> None:
    if style != BITSLICED:
        names = ["core.bit_sliced.style", "core.bit_sliced.num_slices"]
        account.idle(names, "of bit-sliced cores alone")
    if style != OFFSET and not (style == BITSLICED and account.value("core.bit_sliced.style") == 3):
        account.idle("core.offset.style", "of offset cores alone")
    if style == OFFSET:
        account.idle(
            ["core.balanced.style", "core.balanced.subtract_current_in_xbar"],
            "of balanced cores alone",
        )


def _sliced(account: Account, scaling: Scaling, bits: int, slices: int) -> Encoding:
    if bits < 2:
        raise ValueError(f"core.weight_bits must be >= 2 for bit-sliced cores, got {bits!r}")
    balanced = account.whole("core.bit_sliced.style", 1) == 1
    each = bits // slices if bits % slices == 0 else math.ceil((bits - balanced) / slices)
    encoding = BitSliced(scaling=scaling, bits=bits, bits_per_cell=max(each, 1))
    note = "" if encoding.digits == slices else f"{encoding.digits} digits here"
    ours = f"BitSliced(bits={bits}, bits_per_cell={encoding.bits_per_cell})"
    account.match(["core.style", "core.weight_bits", "core.bit_sliced.num_slices"], ours, note)
    if balanced:
        account.match("core.bit_sliced.style", "digits on differential pairs")
        _sides(account)
    else:
        account.idle("core.balanced.style", "of balanced cores alone")
        why = "digits lie on differential pairs, signs apart; there unsigned, against an offset"
        account.miss(["core.bit_sliced.style", "core.offset.style"], why)
    if account.value("core.balanced.subtract_current_in_xbar", True) or not balanced:
        account.match("core.balanced.subtract_current_in_xbar", "pairs are subtracted in analog")
    account.miss(
        "core.balanced.subtract_current_in_xbar", "pairs of digits are subtracted in analog"
    )
    return encoding


def _levels(account: Account, encoding: Encoding) -> tuple[Effect, ...]:
    bits = account.whole("xbar.device.cell_bits")
    if not bits:
        account.idle("xbar.device.cell_bits", "at a value of no effect")
        return ()
    if encoding.states == 2**bits:
        account.match("xbar.device.cell_bits", f"{encoding.states} states of a digit's cell")
        return ()
    offset = isinstance(encoding, SingleColumn)
    count = states_beside_offset(bits) if offset else 2**bits
    note = f"{2**bits} states there, and an offset between two of them" if offset else ""
    account.match("xbar.device.cell_bits", f"FiniteStates({count})", note)
    return (FiniteStates(count),)


def _array(account: Account, encoding: Encoding) -> Array:
    sizes: dict[str, Any] = {}
    for theirs, ours in (("rows", "rows"), ("cols", "cols")):
        name = f"core.{theirs}_max"
        size = account.whole(name, 1024)
        sizes[ours] = size if size > 0 else _UNSPLIT
        account.match(name, f"Array({ours}={sizes[ours]})", "" if size > 0 else "no tiling there")
    equal = [f"core.mapping.weights.{side}_partition_strategy" for side in ("row", "col")]
    for name in equal:
        if account.value(name) == 1:
            account.match(name, "tiles are filled from the first on")
        account.miss(name, "tiles are filled from the first on, the last one is the smaller")
    interleaved = bool(account.value("core.balanced.interleaved_posneg", False))
    pairs = encoding.slices > 1
    wires = _wires(account)
    used = interleaved and pairs and not wires.ideal
    if used:
        account.match("core.balanced.interleaved_posneg", "Array(interleaved=True)")
    account.idle("core.balanced.interleaved_posneg", "without parasitics, or at its default")
    return Array(**sizes, wires=wires, interleaved=used)


def _wires(account: Account) -> Wires:
    start = "xbar.array.parasitics."
    names = {"Rp_row": "word", "Rp_col": "bit", "Rp_row_terminal": "source",
             "Rp_col_terminal": "sense"}  # fmt: skip
    rest = ["current_from_input", "gate_input"]
    if not account.value(start + "enable", False):
        every = [start + name for name in ("enable", *names, *rest)]
        account.idle(every, "parasitics are not enabled")
        return Wires()
    ohms: dict[str, Any] = {ours: account.number(start + theirs) for theirs, ours in names.items()}
    gated = bool(account.value(start + "gate_input", False))
    if gated or account.value(start + "current_from_input", True) is False:
        ohms["word"] = ohms["source"] = 0.0
        why = "the supply's line has no resistance here: only that of the bit lines acts"
        account.miss([start + name for name in ("current_from_input", "gate_input")], why)
        account.miss([start + name for name in ("Rp_row", "Rp_row_terminal")], why)
    account.match(start + "gate_input", "word lines carry the cells' current")
    account.match(start + "current_from_input", "word lines carry the cells' current")
    for theirs, ours in names.items():
        account.match(start + theirs, f"Wires({ours}={ohms[ours]:g})")
    wires = Wires(**ohms)
    account.match(start + "enable", f"{wires}", "no resistance is given" if wires.ideal else "")
    return wires


def _amplifier(account: Account, v_max: float) -> Amplifier | None:
    most = account.number("xbar.array.Icol_max")
    if most <= 0:
        account.idle("xbar.array.Icol_max", "at a value of no effect")
        return None
    amperes = most * v_max / account.number("xbar.device.Rmin")
    account.match("xbar.array.Icol_max", f"Amplifier(saturation={amperes:.4g})")
    return Amplifier(saturation=amperes)


def _other_direction(account: Account) -> None:
    """Account for what is said of transposed products."""
    for group in ("core.mapping.inputs", "xbar.adc", "xbar.dac"):
        alike = account.value(f"{group}._match", True)
        account.idle(f"{group}._match", "says that both directions are alike")
        names = [n for n in account.settings if n.startswith(f"{group}.vmm.")]
        if alike:
            account.idle(names, "as of mvm")
        for name in names:
            if account.value(name) == account.value(name.replace(".vmm.", ".mvm.")):
                account.idle(name, "as of mvm")
        account.miss(names, "crossbar.T has the converters of the other direction")

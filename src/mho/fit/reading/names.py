"""What the name of a column means: a quantity, its unit, whose it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from mho.fit.reading.text import ALIKE
from mho.fit.reading.units import unit

T = TypeVar("T")

DIMENSIONS = {
    "conductance": "S", "resistance": "Ω", "current": "A", "voltage": "V", "read voltage": "V",
    "amplitude": "V", "dg": "S", "time": "s",
}  # fmt: skip
READINGS = {"S": "conductance", "Ω": "resistance", "A": "current"}

# Keys are lower case without blanks and marks. A number behind a name is taken off before.
_WORDS = {
    "pulse": (
        "pulse pulses pulsenumber pulseno pulsenr pulsenum pulseindex pulseid pulsecount "
        "npulse npulses numpulses numberofpulses numberofpulse noofpulses nofpulses "
        "pulsen pulsesapplied puls pulse# pulsnummer pulszahl impuls impulsnummer "
        "impulsion numerodimpulsion pulso"
    ),
    "counter": "n no nr number index idx num point pointno step # nummer",
    "cycle": (
        "cycle cycles cyclenumber cycleno cyclenr cycleindex cycleid cyclecount ncycle "
        "zyklus zyklusnummer loop loopnumber sweep sweepnumber repetition repeat "
        "repeatindex iteration"
    ),
    "cell": (
        "cell cells cellid cellno cellnr cellnumber cellindex cellname device deviceid "
        "deviceno devicenr devicenumber devicename deviceindex dut dutid dutname zelle "
        "zellennummer memristor deviceundertest"
    ),
    "wordline": "wordline wl word wlindex",
    "bitline": "bitline bl bit blindex",
    "direction": (
        "direction polarity pulsedirection pulsetype operation pulsepolarity richtung "
        "setreset ltpltd potentiationdepression dir"
    ),
    "amplitude": (
        "amplitude pulseamplitude pulsevoltage vpulse pulsev programmingvoltage "
        "programvoltage writevoltage vprog vwrite vp pulseamp amplitudev pulseheight"
    ),
    "conductance": (
        "g conductance cond gread readconductance conductanceread gmeas gmeasured "
        "measuredconductance leitwert"
    ),
    "resistance": (
        "r resistance res rread readresistance resistanceread rmeas rmeasured "
        "measuredresistance widerstand"
    ),
    "current": (
        "i current iread readcurrent currentread imeas imeasured measuredcurrent strom id "
        "ids idrain draini draincurrent ia ai anodei icell celli ich ismu smui itop iout "
        "icurrent curr devicecurrent cellcurrent idevice idut currentch stromstärke"
    ),
    "voltage": (
        "v u voltage volt volts vmeas measuredvoltage appliedvoltage vapplied vapp "
        "spannung vd vds vdrain drainv drainvoltage va av anodev vcell cellv vch vsmu "
        "smuv vtop vin vforce forcev vsource sourcev vbias bias biasvoltage devicevoltage "
        "vdevice vdut sweepvoltage vsweep voltagech"
    ),
    "gate": "vg vgs vgate gatev gatevoltage gatebias vgg",
    "read voltage": "vread readvoltage voltageread readbias readv uread lesespannung",
    "dg": (
        "dg deltag deltaconductance dconductance conductancechange jump gchange changeofconductance"
    ),
    "time": (
        "t time elapsedtime timeelapsed elapsed zeit temps timesinceprogramming "
        "retentiontime delay timestamp"
    ),
    "target": (
        "target targetg gtarget targetconductance conductancetarget targetr rtarget "
        "targetresistance goal desired wanted setpoint desiredconductance gdesired"
    ),
    "achieved": (
        "achieved achievedg gachieved achievedconductance actual gactual "
        "actualconductance programmed programmedconductance gprogrammed final gfinal "
        "finalconductance result reached achievedresistance rachieved rfinal measured"
    ),
    "x": "x diex xdie xpos posx xposition xindex xcoordinate col column",
    "y": "y diey ydie ypos posy yposition yindex ycoordinate row",
    "state": "state resistancestate zustand",
    "value": "value val wert",
}
_QUANTITIES = {word: quantity for quantity, words in _WORDS.items() for word in words.split()}
_SPOKEN = {  # words that a reading may be called by, beside what it is a reading of
    "": "reading", "g": "conductance", "conductance": "conductance", "gread": "conductance",
    "r": "resistance", "resistance": "resistance", "rread": "resistance",
    "i": "current", "current": "current", "iread": "current",
}  # fmt: skip
_HALVES = {
    1: "ltp potentiation potentiationcurve pot set setpulses potenzierung",
    -1: "ltd depression depressioncurve dep reset resetpulses",
}
_HALF_KEYS = {
    key: (quantity, sign)
    for sign, words in _HALVES.items()
    for word in words.split()
    for spoken, quantity in _SPOKEN.items()
    for key in (word + spoken, spoken + word)
}
_STATES = {
    "lrs": "lrs on lowresistancestate lowresistance lowres",
    "hrs": "hrs off highresistancestate highresistance highres",
}
_STATE_KEYS = {
    key: (quantity, state)
    for state, words in _STATES.items()
    for word in words.split()
    for spoken, quantity in _SPOKEN.items()
    for key in (word + spoken, spoken + word)
} | {
    "rlow": ("resistance", "lrs"), "rhigh": ("resistance", "hrs"), "ghigh": ("conductance", "lrs"),
    "glow": ("conductance", "hrs"), "ihigh": ("current", "lrs"), "ilow": ("current", "hrs"),
    "gmax": ("conductance", "lrs"), "gmin": ("conductance", "hrs"),
}  # fmt: skip
_CELL = re.compile(r"\b(?:cell|device|dut|zelle|memristor|dev)[ _#]*([0-9]+[a-z]?|[a-z]?[0-9]+)\b")
_CYCLE = re.compile(r"\b(?:cycle|cyc|zyklus|loop|sweep|run)[ _#]*([0-9]+)\b")
_BRACKET = re.compile(r"[(\[{<]([^()\[\]{}<>]*(?:\([^()]*\)[^()\[\]{}<>]*)?)[)\]}>]")
_NO_UNIT = frozenset(["", "#", "-", "–", "1", "n", "no", "no.", "count", "counts"])


@dataclass(frozen=True)
class Meaning:
    """What a column holds.

    Attributes:
        quantity: one of those known; ``""`` where the name says nothing.
        unit: as it stands in the name; ``""`` where there is none.
        dimension: of it (``"S"``, …); ``""`` where it is not known.
        factor: how many SI units one of it is.
        direction: +1 of set (LTP), -1 of reset (LTD) columns.
        state: ``"lrs"`` or ``"hrs"`` of columns of one state.
        cell: whose column it is, where the name says so.
        cycle: of which cycle, where the name says so.
        number: a bare number behind the name.
    """

    quantity: str = ""
    unit: str = ""
    dimension: str = ""
    factor: float = 1.0
    direction: int = 0
    state: str = ""
    cell: str = ""
    cycle: str = ""
    number: str = ""


def meaning(name: str) -> Meaning:
    """Return what the name of a column means, with its unit.

    Args:
        name: as it stands in a header: ``"Conductance (µS)"``, ``"I_read [nA]"``, ``"V/V"``,
            ``"LTP cell 3"``. Of words that say nothing known the unit alone is returned.
    """
    name = re.sub(r"\s+", " ", name.replace("\u00a0", " ")).strip(" \"'")
    for phrase, text in _readings(name):
        found = _of_phrase(phrase)
        if found is None:
            continue
        quantity = found.quantity
        known = unit(text) if text else None
        if text and known is None and text.strip() in _NO_UNIT:
            text = ""
        if known is not None and quantity == "reading":
            quantity = READINGS.get(known[0], "")
        elif quantity == "reading":
            quantity = "conductance"
        if known is not None and quantity not in (*DIMENSIONS, "target", "achieved", "value", ""):
            continue  # a pulse in µs is its width, not its number
        if not quantity or (quantity == "time" and phrase.strip() == "T" and known is None):
            continue  # T alone is a temperature as well
        dimension, factor = known or ("", 1.0)
        return replace(found, quantity=quantity, unit=text, dimension=dimension, factor=factor)
    return _unit_alone(name)


def _unit_alone(name: str) -> Meaning:
    # Of a name that says nothing else: whoever is told what it means needs its unit.
    for _, text in _readings(name):
        known = unit(text) if text else None
        if known is not None:
            return Meaning(unit=text, dimension=known[0], factor=known[1])
    return Meaning()


def _readings(name: str) -> list[tuple[str, str]]:
    # Every way to part a name into words and a unit, the likeliest first.
    ways = []
    for bracket in reversed(list(_BRACKET.finditer(name))):
        words = f"{name[: bracket.start()]} {name[bracket.end() :]}"
        if unit(bracket[1]) is not None:
            ways.append((words, bracket[1].strip()))
        elif not re.search(r"\w", bracket[1]) and bracket[1].strip() not in _NO_UNIT:
            return [(words, bracket[1].strip())]  # (%), which is no part of the words either
    ways.append((name, ""))
    for mark in ("/", ",", " in ", ";", ":"):
        head, found, tail = name.partition(mark)
        # G/G0 may be a share of an initial conductance as well as of the quantum.
        if found and head.strip() and unit(tail) is not None and not tail.strip().startswith("G"):
            ways.append((head, tail.strip()))
    for mark in ("_", " ", ".", "-"):
        head, found, tail = name.rpartition(mark)
        if found and head.strip() and unit(tail) is not None and _fits(head, tail):
            ways.append((head, tail.strip()))
    strange = _BRACKET.search(name)
    if strange is not None:  # a unit that is not known, to be refused if it is needed
        ways.append((f"{name[: strange.start()]} {name[strange.end() :]}", strange[1].strip()))
    head, found, tail = name.partition("/")
    if found and head.strip() and re.fullmatch(r"\s*\S{1,6}\s*", tail):
        share = tail.strip().startswith("G")
        ways.append((head, f"share of {tail.strip()}" if share else tail.strip()))
    return ways


def _fits(head: str, tail: str) -> bool:
    # G_uS is in µS, but V_A no voltage in amperes.
    found, known = _of_phrase(head), unit(tail)
    if found is None or known is None:
        return False
    if found.quantity in ("reading", "target", "achieved", "value"):
        return known[0] in READINGS
    return DIMENSIONS.get(found.quantity) == known[0]


def _of_phrase(phrase: str) -> Meaning | None:
    # The meaning of words without a unit; quantity "reading" where only a unit can tell it.
    text = re.sub(r"[Δ∆δ]\s*", "d", phrase).strip().lower().replace("|", " absolute ")
    text = re.sub(r"[^\w#]+", " ", text).strip()
    cell, cycle = _CELL.search(text.replace("_", " ")), _CYCLE.search(text.replace("_", " "))
    rest = text.replace("_", " ")
    for label in (cell, cycle):
        if label is not None:
            rest = rest.replace(label[0], " ", 1)
    own_cell, own_cycle = cell[1] if cell else "", cycle[1] if cycle else ""
    word = re.sub(r"[\s_]+", "", rest)
    if not word:
        whose = Meaning("reading", cell=own_cell, cycle=own_cycle)
        return whose if cell or cycle else None
    number = ""
    if word not in _QUANTITIES:
        word = word.replace("#", "") or word
    found = _of_key(word)
    if found is None:
        trailing = re.fullmatch(r"(.*?[a-z])([0-9]+)", word)
        if trailing is None:
            return None
        found, number = _of_key(trailing[1]), trailing[2]
    if found is None:
        return None
    return replace(found, number=number, cell=own_cell, cycle=own_cycle)


def _of_key(word: str) -> Meaning | None:
    if word in _QUANTITIES:
        return Meaning(_QUANTITIES[word])
    if word in _HALF_KEYS:
        quantity, sign = _HALF_KEYS[word]
        return Meaning(quantity, direction=sign)
    if word in _STATE_KEYS:
        quantity, state = _STATE_KEYS[word]
        return Meaning(quantity, state=state)
    return None


def key(name: str) -> str:
    """Return a name as it is looked up: lower case, one blank between words, one µ."""
    return " ".join(name.translate(ALIKE).replace("\u00a0", " ").split()).lower()


def given(name: str, overrides: Mapping[str, T]) -> T | None:
    """Return what the user says of a column.

    Args:
        name: as it stands in the header.
        overrides: by name, with or without its unit, as `key` has it.
    """
    forms = (name, _BRACKET.sub("", name), name.partition("/")[0])
    return next((overrides[key(form)] for form in forms if key(form) in overrides), None)

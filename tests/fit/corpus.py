# ruff: noqa: E501 (rows of a table)
"""Files as instruments, spreadsheets and people write them, with what is to be read from each.

Every file is made here, of a few small measurements; nothing is stored as binaries.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# ---- the measurements ----------------------------------------------------------------------------

V = np.round(np.concatenate([np.linspace(0, 0.5, 11), np.linspace(0.45, -0.5, 20)]), 3)
I = np.round(20e-6 * np.sinh(3 * V) / 3, 12)  # noqa: E741
_RNG = np.random.default_rng(20260401)
CELLS, CYCLES, UP, DOWN = 2, 3, 14, 10


def _curves(pulses: int, bend: float) -> np.ndarray:
    x = np.linspace(0, 1, pulses + 1)
    return (1 - np.exp(-bend * x)) / (1 - np.exp(-bend))


def _response() -> tuple[np.ndarray, np.ndarray]:
    shape = (CELLS, CYCLES)
    top = 40.0 + np.arange(CELLS)[:, None, None] * 8.0
    up = 4 + (top - 4) * _curves(UP, 2.0) + _RNG.normal(0, 0.2, (*shape, UP + 1))
    down = top - (top - 4) * _curves(DOWN, 1.5) + _RNG.normal(0, 0.2, (*shape, DOWN + 1))
    down[..., 0] = up[
        ..., -1
    ]  # the reading before the first reset pulse is that after the last set
    return np.round(up, 4) * 1e-6, np.round(down, 4) * 1e-6


SET, RESET = _response()
TIME = np.array([1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0])
G = np.round(np.array([[30.0], [20.0], [12.0]]) * TIME**-0.05, 4) * 1e-6
TARGET = np.repeat([5e-6, 10e-6, 20e-6], 8)
ACHIEVED = np.round(TARGET + _RNG.normal(0, 3e-7, TARGET.shape), 10)
JUMP_G = np.round(np.linspace(2, 20, 30), 3) * 1e-6
JUMP_DG = np.round((22 - JUMP_G * 1e6) * 0.02 + _RNG.normal(0, 0.05, 30), 4) * 1e-6
NX, NY = 4, 3
LRS = np.round(np.exp(_RNG.normal(2.0, 0.1, (NY, NX))), 4) * 1e3  # Ω
HRS = np.round(np.exp(_RNG.normal(5.0, 0.2, (NY, NX))), 4) * 1e3


# ---- how files are written -----------------------------------------------------------------------


def text(
    header: str | list[str],
    *columns: Any,
    sep: str = ",",
    decimal: str = ".",
    end: str = "\n",
    above: str = "",
    below: str = "",
    digits: int = 9,
    tail: str = "",
) -> str:
    """Return a table: numbers to so many digits, other cells as they stand."""

    def cell(value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, (int, np.integer)):
            return str(value)
        return f"{value:.{digits}g}".replace(".", decimal)

    head = header if isinstance(header, str) else sep.join(header)
    rows = [sep.join(map(cell, row)) + tail for row in zip(*columns, strict=True)]
    lines = [*([above] if above else []), head + tail, *rows, *([below] if below else [])]
    return "\n".join(lines).replace("\n", end) + end


def pulse_rows(counter: str = "cycle", cells: int = 1) -> list[tuple[Any, ...]]:
    """Return (cell, cycle, pulse, g in µS, direction) of every reading in order."""
    rows = []
    for cell in range(cells):
        running = 0
        for cycle in range(CYCLES):
            up, down = SET[cell, cycle] * 1e6, RESET[cell, cycle] * 1e6
            if counter == "halves":
                numbered = [(k, g, "set") for k, g in enumerate(up)]
                numbered += [(k, g, "reset") for k, g in enumerate(down)]
            else:
                numbered = [(k, g, "set") for k, g in enumerate(up)]
                numbered += [(UP + k, g, "reset") for k, g in enumerate(down) if k]
            for k, g, way in numbered:
                number = running if counter == "running" else k
                rows.append((f"D{cell + 1}", cycle + 1, number, float(g), way))
                running += 1
    return rows


def _triangle() -> list[tuple[int, float]]:
    # Two cycles of as many set and reset pulses, the reading at every turn written once.
    cycle = [(k, 5.0 + 2.0 * min(k, 2 * DOWN - k)) for k in range(2 * DOWN + 1)]
    return [*cycle, *cycle[1:]]


def column(rows: list[tuple[Any, ...]], *which: int) -> list[list[Any]]:
    return [[row[k] for row in rows] for k in which]


# ---- what is expected ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A file and what is to come of it: arrays (as read, SI), or a refusal (a pattern)."""

    name: str
    data: bytes
    kind: str = ""
    arrays: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    said: str = ""
    reading: dict[str, Any] = field(default_factory=dict)


IV = {"voltage": V, "current": I}
ONE = {"set": SET[:1], "reset": RESET[:1]}
ALL = {"set": SET, "reset": RESET}
LONG = {
    "time": np.tile(TIME, 3),
    "g": G.ravel(),
    "cell": np.repeat([0.0, 1.0, 2.0], len(TIME)),
}
RECORD = {"time": TIME, "g": G[0]}
MAP = {"lrs": 1 / LRS.ravel(), "hrs": 1 / HRS.ravel()}


def _iv_cases() -> list[Case]:
    uA = I * 1e6
    comma = text("voltage,current", V, I)
    cases = [
        Case("plain", comma.encode(), "iv", IV),
        Case("bom", comma.encode("utf-8-sig"), "iv", IV, said="UTF-8"),
        Case("utf16", comma.encode("utf-16"), "iv", IV, said="UTF-16"),
        Case("utf16-be-bare", comma.encode("utf-16-be"), "iv", IV, said="UTF-16"),
        Case("utf32", comma.encode("utf-32"), "iv", IV, said="UTF-32"),
        Case("windows-ends", text("V,I", V, I, end="\r\n").encode(), "iv", IV),
        Case("old-mac-ends", text("V,I", V, I, end="\r").encode(), "iv", IV),
        Case("ctrl-z", (comma + "\x1a").encode(), "iv", IV),
        Case(
            "latin-1",
            text("Spannung [V];Strom [µA]", V, uA, sep=";", decimal=",").encode("latin-1"),
            "iv", IV, said="Latin-1.*decimal commas",
        ),
        Case(
            "excel-sep-line",
            ("sep=;\r\n" + text("V;I (µA)", V, uA, sep=";", decimal=",", end="\r\n")).encode(),
            "iv", IV,
        ),
        Case(
            "labview-tabs",
            text("Voltage\tCurrent", V, I, sep="\t", decimal=",",
                 above="LabVIEW Measurement\nWriter_Version\t2\nSeparator\tTab\n***End_of_Header***")
            .encode("cp1252"),
            "iv", IV, said="tab, decimal commas",
        ),
        Case("blanks", text("voltage current", V, I, sep=" ").encode(), "iv", IV),
        Case("blanks-units", text("Voltage (V)  Current (A)", V, I, sep="   ").encode(), "iv", IV),
        Case("one-blank-units", text("Voltage (V) Current (uA)", V, uA, sep=" ").encode(), "iv", IV),
        Case("blanks-decimal-comma", text("V I", V, I, sep="  ", decimal=",").encode(), "iv", IV),
        Case("savetxt", text("# voltage current", V, I, sep=" ").encode(), "iv", IV),
        Case(
            "comments",
            text("voltage,current", V, I, above="# date: 1.4.2026\n% by hand\n\n").encode(),
            "iv", IV,
        ),
        Case("bars", text("V | I", V, I, sep=" | ").encode(), "iv", IV),
        Case("trailing-separators", text("V,I", V, I, tail=",").encode(), "iv", IV),
        Case("trailing-in-rows", ("V,I\n" + text("", V, I, tail=",,")[3:]).encode(), "iv", IV),
        Case(
            "parameter-analyser",
            (
                "SetupTitle, bipolar\nPrimitiveTest, I/V Sweep\n"
                "TestParameter, Output.List.Name, V1, I1\nMetaData, TestRecord.Remarks, \n"
                f"Dimension1, {len(V)}, {len(V)}\nDimension2, 1, 1\n"
                + text("DataName, V1, I1", ["DataValue"] * len(V), V, I, sep=", ")
            ).encode(),
            "iv", IV,
        ),
        Case(
            "two-blocks",
            (text("V,I", V, I) + "\nDimension1,31\nDate,2026\n" + text("V,I", V, I)).encode(),
            "iv", {"voltage": np.tile(V, 2), "current": np.tile(I, 2)}, said="2 cycles",
        ),
        Case("anode", text("Time,AV,AI", 0.1 * np.arange(len(V)), V, I).encode(), "iv",
             {**IV, "time": 0.1 * np.arange(len(V))}),
        Case("source-meter",
             text("V,I,R,TIME,STAT", V, I, ["+9.910000E+37"] * 31, 0.5 * np.arange(31), [4e4] * 31)
             .encode(), "iv", {**IV, "time": 0.5 * np.arange(31)}),
        Case("time-of-day", text("Timestamp;V;I", [f"01.04.2026 12:00:{k:02}" for k in range(31)],
                                 V, I, sep=";", decimal=",").encode(), "iv", IV,
             said="not read: 'Timestamp'"),
        Case("frame-index", text(",V,I", range(31), V, I).encode(), "iv", IV),
        Case("slash-units", text("V/mV,I/nA", V * 1e3, I * 1e9).encode(), "iv", IV),
        Case("suffix-units", text("V_mV,I_nA", V * 1e3, I * 1e9).encode(), "iv", IV),
        Case("units-row", text("Voltage,Current", V * 1e3, I * 1e9, above="").replace(
            "\n", "\nmV,nA\n", 1).encode(), "iv", IV),
        Case("powers", text("V (V),I (×10⁻⁶ A)", V, uA).encode(), "iv", IV),
        Case("quoted", text('"Voltage, V","Current, A"', [f'"{v}"' for v in V],
                            [f'"{i:.9g}"' for i in I]).encode(), "iv", IV),
        Case("quoted-commas", text("V,I (µA)", [f'"{v}"'.replace(".", ",") for v in V],
                                   [f'"{i:.9g}"'.replace(".", ",") for i in uA]).encode(),
             "iv", IV, said="decimal commas"),
        Case("header-over-two-lines",
             text('"Voltage\n(V)","Current\n(µA)"', V, uA).encode(), "iv", IV),
        Case("unicode-minus", text("V,I", V, I).replace("-", "\u2212").encode(), "iv", IV),
        Case("fortran", text("V,I", V, [f"{i:.9E}".replace("E", "D") for i in I]).encode(),
             "iv", IV),
        Case("plus-signs", text("V,I", [f"{v:+.3f}" for v in V], [f"{i:+.8E}" for i in I])
             .encode(), "iv", IV),
        Case("magnitudes", text("V,I", V, np.abs(I)).encode(), "iv", IV, said="magnitudes"),
        Case("other-terminal", text("V,I", V, -I).encode(), "iv", IV, said="signs turned"),
        Case("no-header-named", text("", V, I)[1:].encode(), "iv", IV,
             reading={"columns": {"1": "voltage", "2": "current"}}),
        Case("no-header-like-a-row", b"1 2e-6\n2 4e-6\n1 2\n3 6e-6\n", "iv",
             {"voltage": [1.0, 2.0, 1.0, 3.0], "current": [2e-6, 4e-6, 2.0, 6e-6]},
             reading={"columns": {"1": "voltage", "2": "current"}, "units": {"2": "A"}}),
        Case("named-by-hand", text("foo,bar", V, uA).encode(), "iv", IV,
             reading={"columns": {"foo": "voltage", "bar": "current (µA)"}}),
        Case("unit-by-hand", text("V,I", V, uA).encode(), "iv", IV,
             reading={"units": {"I": "µA"}}),
        Case("a-column-too-many", text("n,V,I,Temp (K)", range(len(V)), V, I, [300] * len(V))
             .encode(), "iv", IV, said="not read: 'n', 'Temp \\(K\\)'"),
        Case("footer", text("V,I", V, I, below="End of data").encode(), "iv", IV,
             said="lines below the table not read"),
        Case("thousands",
             text("V (mV);I (nA)", [f"{1e3 * v:,.1f}" for v in V], [f"{1e9 * i:,.4f}" for i in I],
                  sep=";").encode(), "iv", IV),
        Case("swiss", text("V (mV);I (nA)", [f"{1e3 * v:,.1f}".replace(",", "’") for v in V],
                           [f"{1e9 * i:,.4f}".replace(",", "’") for i in I], sep=";").encode(),
             "iv", IV),
        Case("french", text("V (mV);I (nA)",
                            [f"{1e3 * v:,.1f}".replace(",", "\u202f").replace(".", ",") for v in V],
                            [f"{1e9 * i:,.4f}".replace(",", "\u00a0").replace(".", ",") for i in I],
                            sep=";").encode(), "iv", IV),
        Case("german", text("V (mV);I (nA)",
                            [f"{1e3 * v:,.1f}".translate(str.maketrans(",.", ".,")) for v in V],
                            [f"{1e9 * i:,.4f}".translate(str.maketrans(",.", ".,")) for i in I],
                            sep=";").encode(), "iv", IV),
    ]  # fmt: skip
    holes = [f"{i:.9g}" for i in I]
    for k, mark in zip((3, 5, 9, 12), ("9.91E37", "OVLD", "--", "#DIV/0!"), strict=True):
        holes[k] = mark
    keep = np.delete(np.arange(len(V)), [3, 5, 9, 12])
    cases.append(
        Case("overflows", text("V,I", V, holes).encode(), "iv",
             {"voltage": V[keep], "current": I[keep]}, said=r"4 rows without a value \(lines 5, 7")
    )  # fmt: skip
    return cases


def _pulse_cases() -> list[Case]:
    one, both = pulse_rows(), pulse_rows(cells=2)
    running, halves = pulse_rows("running"), pulse_rows("halves")
    pulse, g, way = column(one, 2, 3, 4)
    cases = [
        Case("pulses", text("pulse,conductance (uS)", pulse, g).encode(), "pulses", ONE),
        Case("pulses-directed", text("Pulse #,G (µS),Direction", pulse, g, way).encode(),
             "pulses", ONE),
        Case("runs-on", text("pulse,G (µS)", *column(running, 2, 3)).encode(), "pulses", ONE,
             said="3 cycles of 14 set and 10 reset"),
        Case("runs-on-directed", text("pulse,G (µS),polarity", *column(running, 2, 3, 4)).encode(),
             "pulses", ONE),
        Case("each-half-from-0", text("pulse,G (µS)", *column(halves, 2, 3)).encode(), "pulses",
             ONE),
        Case("each-half-from-0-directed", text("pulse,G (µS),direction", *column(halves, 2, 3, 4))
             .encode(), "pulses", ONE),
        Case("no-counter", text("direction,G (µS)", way, g).encode(), "pulses", ONE),
        Case("cycle-column", text("Cycle,Pulse,G (µS),Direction", *column(one, 1, 2, 3, 4))
             .encode(), "pulses", ONE),
        Case("cells", text("cell,pulse,G (µS),direction", *column(both, 0, 2, 3, 4)).encode(),
             "pulses", ALL, said="2 cells"),
        Case("cells-undirected", text("Device,Pulse No.,G (µS)", *column(both, 0, 2, 3)).encode(),
             "pulses", ALL),
        Case("cells-mixed", text("cell,cycle,pulse,G (µS),direction",
                                 *column(sorted(both, key=lambda r: (r[1], r[2])), 0, 1, 2, 3, 4))
             .encode(), "pulses", ALL),
        Case("signed-counter", text("pulse,G (µS)", [p if w == "set" else UP - p for p, w in
                                                     zip(pulse, way, strict=True)], g).encode(),
             "pulses", ONE),
        Case("counted-from-1", text("pulse,G (µS),direction", [p if w == "set" else p - UP for p, w in
                                                               zip(pulse, way, strict=True)], g, way)
             .encode(), "pulses", ONE),
        Case("counts-down", text("pulse,G (µS)", [p if p <= DOWN else 2 * DOWN - p for p, _ in
                                                  _triangle()], [x for _, x in _triangle()]).encode(),
             "pulses", {"set": np.tile(np.linspace(5e-6, 25e-6, 11), (1, 2, 1))}),
        Case("kilohms", text("pulse,R (kΩ)", pulse, [1e3 / x for x in g], digits=12).encode(),
             "pulses", ONE),
        Case("ohm-sign", text("pulse,R [k\u2126]", pulse, [1e3 / x for x in g], digits=12).encode(),
             "pulses", ONE),
        Case("per-ohm", text("pulse,G (1/kOhm)", pulse, [x / 1e3 for x in g]).encode(), "pulses",
             ONE),
        Case("read-current", text("Pulse #,I_read (nA)", pulse, [100 * x for x in g]).encode(),
             "pulses", ONE, reading={"read_voltage": 0.1}, said="read at 0.1 V, as told"),
        Case("read-voltage-above", text("Pulse #;I_read (nA)", pulse, [100 * x for x in g], sep=";",
                                        decimal=",", above="Read voltage: 100 mV").encode(),
             "pulses", ONE, said="read at 0.1 V, as the file says"),
        Case("read-voltage-column", text("Pulse,I_read (nA),V_read", pulse, [200 * x for x in g],
                                         [0.2] * len(g)).encode(), "pulses", ONE),
        Case("resistance-and-conductance", text("pulse,G (µS),R (kΩ)", pulse, g,
                                                [1e3 / x for x in g]).encode(), "pulses", ONE,
             said="agrees"),
        Case("read-current-unknown", text("Pulse #,I_read (nA)", pulse, g).encode(),
             refused=r"line 2, column 'I_read \(nA\)': currents were read: at which voltage"),
        Case("no-unit", text("pulse,conductance", pulse, g).encode(),
             refused=r"column 'conductance': .* S is out of what is usual.*--unit 'conductance'=µS"),
        Case("arbitrary-units", text("pulse,G (a.u.)", pulse, g).encode(),
             refused=r"line 1, column 'G \(a.u.\)': unit 'a.u.' is not one of S"),
        Case("contradiction", text("pulse,G (µS),R (kΩ)", pulse, g, g).encode(),
             refused="say conductances that differ"),
        Case("only-set", text("pulse,G (µS)", *column([r for r in one if r[4] == "set"], 2, 3))
             .encode(), refused="only set pulses"),
        Case("set-is-reset", text("pulse,G (µS),direction", pulse, g,
                                  ["reset" if w == "set" else "set" for w in way]).encode(),
             refused="the other way round"),
        Case("set-by-negative-pulses", text("pulse,G (µS),Polarity", pulse, g,
                                            ["neg" if w == "set" else "pos" for w in way]).encode(),
             "pulses", ONE, said="negative pulses set"),
        Case("every-fifth", text("pulse,G (µS),direction", [5 * p for p in pulse], g, way).encode(),
             refused="steps of 5"),
        Case("a-pulse-twice", text("pulse,G (µS),direction", [p - (p > 4) for p in pulse], g, way)
             .encode(), refused="pulse 4 follows 4"),
        Case("both-directions-unknown", text("pulse,G (µS),direction", pulse, g,
                                             ["sideways"] * len(g)).encode(),
             refused=r"line 2, column 'direction': must be set or reset"),
        Case("numbered-columns", text("pulse,G1 (µS),G2 (µS)", pulse, g, g).encode(),
             refused="cells or cycles"),
        Case("normalised", text("pulse,G/G0", pulse, g).encode(), refused="column 'G/G0'"),
        Case("pulse-width", text("Pulse (us),G (µS)", pulse, g).encode(), refused="fits none"),
    ]  # fmt: skip
    up, down = SET[0] * 1e6, RESET[0] * 1e6
    pad = [""] * (UP - DOWN)
    cases += [
        Case("ltp-ltd", text("Pulse #,LTP (µS),LTD (µS)", range(UP + 1), up[0], [*down[0], *pad])
             .encode(), "pulses", {"set": SET[:1, :1], "reset": RESET[:1, :1]}),
        Case("ltp-ltd-german",
             text("Pulse #;LTP [nS];LTD [nS]", range(UP + 1), up[0] * 1e3,
                  [*(f"{1e3 * x:.9g}".replace(".", ",") for x in down[0]), *pad],
                  sep=";", decimal=",").encode("latin-1"), "pulses",
             {"set": SET[:1, :1], "reset": RESET[:1, :1]}),
        Case("potentiation-words",
             text("n,Potentiation (µA),Depression (µA)", range(UP + 1), up[0] / 10,
                  [*(f"{x / 10:.9g}" for x in down[0]), *pad]).encode(), "pulses",
             {"set": SET[:1, :1], "reset": RESET[:1, :1]}, reading={"read_voltage": 0.1}),
        Case("ltp-ltd-cycles",
             text("Pulse,LTP cycle 1 (µS),LTD cycle 1 (µS),LTP cycle 2 (µS),LTD cycle 2 (µS)",
                  range(UP + 1), up[0], [*down[0], *pad], up[1], [*down[1], *pad]).encode(),
             "pulses", {"set": SET[:1, :2], "reset": RESET[:1, :2]}),
        Case("a-hole", text("pulse,G (µS),direction", pulse, [*g[:3], "NaN", *g[4:]], way).encode(),
             "pulses", {"set": SET[:1, 1:], "reset": RESET[:1, 1:]},
             said=r"1 reading missing \(line 5\); cycle no. 1 is left out: no reading in line 5"),
        Case("cut-off", text("pulse,G (µS),direction", pulse[:-4], g[:-4], way[:-4]).encode(),
             "pulses", {"set": SET[:1, :2], "reset": RESET[:1, :2]}, said="cycle no. 3 is left out: not complete"),
        Case("word-and-bit-lines",
             text("Wordline,Bitline,Resistance,Amplitude (V),Pulse width (s),ReadVoltage",
                  [1] * len(g), [3] * len(g), [1e6 / x for x in g],
                  [0.0 if p == 0 else 1.2 if w == "set" else -1.4 for p, w in
                   zip(pulse, way, strict=True)], [1e-4] * len(g), [0.2] * len(g), digits=12)
             .encode(), "pulses", ONE),
    ]  # fmt: skip
    return cases


def _other_cases() -> list[Case]:
    x, y = np.tile(np.arange(NX), NY), np.repeat(np.arange(NY), NX)
    grid = "\n".join(f"{k}," + ",".join(f"{r / 1e3:.7g}" for r in row) for k, row in enumerate(LRS))
    place = {"x": x.astype(float), "y": y.astype(float)}
    wide = text("time (s),cell 1 (µS),cell 2 (µS),cell 3 (µS)", TIME, *(G * 1e6))
    return [
        Case("jumps", text("g,dg,direction", np.tile(JUMP_G, 2), np.r_[JUMP_DG, -JUMP_DG],
                           ["set"] * 30 + ["reset"] * 30).encode(), "jumps",
             {"set_g": JUMP_G, "set_dg": JUMP_DG, "reset_g": JUMP_G, "reset_dg": -JUMP_DG}),
        Case("jumps-units", text("G (µS),ΔG (nS),direction", np.tile(JUMP_G, 2) * 1e6,
                                 np.r_[JUMP_DG, -JUMP_DG] * 1e9, [1] * 30 + [-1] * 30).encode(),
             "jumps", {"set_dg": JUMP_DG}),
        Case("jumps-by-polarity", text("g,dg,polarity", np.tile(JUMP_G, 2),
                                       np.r_[JUMP_DG, -JUMP_DG], ["-"] * 30 + ["+"] * 30).encode(),
             "jumps", {"set_dg": JUMP_DG, "reset_dg": -JUMP_DG}, said="negative pulses set"),
        Case("jumps-mixed-units", text("G (nS),dG (µS)", JUMP_G * 1e6, JUMP_DG * 1e6).encode(),
             refused="larger than every conductance"),
        Case("retention", text("time (h),conductance", TIME / 3600, G[0]).encode(), "retention",
             RECORD),
        Case("retention-zero", text("Time (s),G (µS)", [0.0, *TIME], [31.0, *G[0] * 1e6]).encode(),
             "retention", {"time": np.r_[0.0, TIME], "g": np.r_[31e-6, G[0]]}),
        Case("retention-cells", text("time,G (µS),cell", LONG["time"], LONG["g"] * 1e6,
                                     ["a"] * 7 + ["b"] * 7 + ["c"] * 7).encode(), "retention", LONG),
        Case("retention-wide", wide.encode(), "retention", LONG, said="3 cells"),
        Case("retention-current", text("t (s),V (V),I (nA)", TIME, [0.1] * 7, G[0] * 1e8).encode(),
             "retention", RECORD, said="the same everywhere"),
        Case("retention-back", text("time,G (µS)", TIME[::-1], G[0] * 1e6).encode(),
             refused=r"line 3, column 'time': must increase"),
        Case("retention-clock", text("time,G (µS)", [f"12:00:{k:02}" for k in range(7)], G[0] * 1e6)
             .encode(), refused=r"line 2, column 'time': '12:00:00' is no number \(a date or a time"),
        Case("retention-negative", text("time,G (µS)", TIME, [-5, *G[0][1:] * 1e6]).encode(),
             refused=r"line 2, column 'G \(µS\)': a conductance must be >= 0"),
        Case("programming", text("target (µS),achieved (µS)", TARGET * 1e6, ACHIEVED * 1e6).encode(),
             "programming", {"target": TARGET, "achieved": ACHIEVED}),
        Case("programming-ohms", text("Target R (kΩ);R (kΩ)", 1e-3 / TARGET, 1e-3 / ACHIEVED, sep=";",
                                      digits=12).encode(), "programming",
             {"target": TARGET, "achieved": ACHIEVED}),
        Case("map-list", text("x,y,LRS (kOhm),HRS (kOhm)", x, y, LRS.ravel() / 1e3,
                              HRS.ravel() / 1e3, digits=12).encode(), "map", {**MAP, **place}),
        Case("map-state", text("Die X,Die Y,State,R (Ω)", np.tile(x, 2), np.tile(y, 2),
                               ["LRS"] * 12 + ["HRS"] * 12, np.r_[LRS.ravel(), HRS.ravel()],
                               digits=12).encode(), "map", {**MAP, **place}),
        Case("map-grid", f"LRS (kOhm)\ny\\x,0,1,2,3\n{grid}\n".encode(), "map",
             {"lrs": MAP["lrs"], **place}, said="a grid of 4 × 3"),
        Case("map-bare", "\n".join(" ".join(f"{1e6 / r:.12g}" for r in row) for row in LRS).encode(),
             "map", {"lrs": MAP["lrs"]}, reading={"kind": "map", "units": {"value": "µS"}}),
        Case("endurance", text("Cycle,LRS (kOhm),HRS (kOhm)", range(12), LRS.ravel() / 1e3,
                               HRS.ravel() / 1e3).encode(), refused="fits none"),
        Case("states-of-nobody", text("LRS (kOhm),HRS (kOhm)", LRS.ravel() / 1e3, HRS.ravel() / 1e3)
             .encode(), refused="fits none"),
        Case("map-twice", text("x,y,LRS (kOhm),HRS (kOhm)", x * 0, y, LRS.ravel() / 1e3,
                               HRS.ravel() / 1e3).encode(), refused="comes twice"),
        Case("map-holes", text("x,y,LRS (kOhm),HRS (kOhm)", x, y, ["", *LRS.ravel()[1:] / 1e3],
                               HRS.ravel() / 1e3, digits=12).encode(), "map",
             {"lrs": MAP["lrs"][1:], "hrs": MAP["hrs"][1:]}, said="1 positions? without a value"),
    ]  # fmt: skip


def _bad_cases() -> list[Case]:
    good = text("voltage,current", V, I)
    return [
        Case("empty", b"", refused="empty"),
        Case("blank", b"\n\n  \n", refused="empty"),
        Case("header-alone", b"voltage,current\n", refused="empty, or no table"),
        Case("no-header", text("", V, I)[1:].encode(), refused="no header above.*--column 1=voltage"),
        Case("unknown-header", text("a,b", V, I).encode(), refused="line 1: header a, b says nothing"),
        Case("half-known", text("V,foo", V, I).encode(), refused="fits none of.*what is 'foo'"),
        Case("not-a-number", text("V,I", [0.1, "abc", 0.3], [1e-6] * 3).encode(),
             refused="line 3, column 'V': 'abc' is no number"),
        Case("a-date", text("V,I", [0.1, "Mrz 12", 0.3], [1e-6] * 3).encode(),
             refused="line 3, column 'V': 'Mrz 12' is no number .a date"),
        Case("ragged", b"V,I\n0.1,1e-6\n0.2\n0.3,1e-6\n", refused="line 3: 1 cells, the header"),
        Case("too-many", b"V,I\n0.1,1e-6\n0.2,1e-6,7\n", refused="line 3: 3 cells, the header"),
        Case("commas-for-both", text("V,I", V, I * 1e6, decimal=",").encode(),
             refused="cells, the header in line 1 has 2; do commas stand for decimals and between"),
        Case("comma-may-be-thousands", b"V (mV);I (nA)\n1,234;5,678\n2,345;6,789\n3,456;7,890\n",
             refused=r"line 2, column 'V \(mV\)': '1,234' may be 1234 or 1.234: say --decimal"),
        Case("comma-decided", b"V (mV);I (nA)\n1,234;5,678\n2,345;6,789\n3,456;7,890\n", "iv",
             {"voltage": [1.234e-3, 2.345e-3, 3.456e-3]}, reading={"decimal": ","}),
        Case("mixed-marks", b"V;I (uA)\n0,1;1,5\n0.2;2,5\n0,3;3,5\n",
             refused="line 3, column 'V': '0.2' is no number where decimals stand behind a comma"),
        Case("twice", text("V,V,I", V, V, I).encode(), refused="'V' and 'V' both hold the voltage"),
        Case("two-voltages", text("V1,V2,I", V, V, I).encode(), refused="several columns|both hold"),
        Case("wrong-unit", text("V (kg),I", V, I).encode(), refused="unit 'kg' is not one of V"),
        Case("other-unit", text("V (s),I", V, I).encode(), refused="unit 's' is one of s"),
        Case("seconds-for-siemens", text("time,G (us)", TIME, G[0]).encode(),
             refused="unit 'us' is one of s, but a conductance is in S"),
        Case("a-density", text("V,I (A/cm2)", V, I).encode(), refused="unit 'A/cm2' is not one of A"),
        Case("millivolts", text("V,I", V * 1e3, I).encode(), refused="500 V is out of what is usual"),
        Case("microamperes", text("V,I", V, I * 1e6).encode(), refused="A is out of what is usual"),
        Case("two-kinds", text("time,pulse,G (µS)", TIME, range(7), G[0] * 1e6).encode(),
             refused="fits retention and pulses: choose with --kind"),
        Case("words-among-numbers", good.replace("\n0.2,", "\nstopped\n0.2,", 1).encode(),
             refused="line 6: 'stopped' stands among"),
        Case("second-table", (good + "time,G\n1,1e-6\n2,1e-6\n").encode(),
             refused="'time, G' stands among the rows"),
        Case("no-sweep", text("V,I", [0.1] * 9, [1e-6] * 9).encode(), refused="fits none of"),
        Case("all-missing", text("V,I", V, ["NaN"] * len(V)).encode(), refused="no row has all"),
        Case("units-in-cells", text("V,I", [f"{v} V" for v in V], I).encode(),
             refused="line 2, column 'V': '0.0 V' is no number"),
        Case("a-prefix-left-out", text("V,I", V, I * 200).encode(),
             refused="a conductance of .* S follows, out of what is usual.*--unit 'I'=µA or"),
        Case("asserted", text("V,I", V, I * 200).encode(), "iv", {"voltage": V, "current": 200 * I},
             reading={"units": {"I": "A"}}),
        Case("temperatures", text("t (s),T (K),G (µS)", TIME, [300] * 7, G[0] * 1e6).encode(),
             "retention", RECORD, said="not read: 'T .K.'"),
        Case("gated", text("Vg,Vd,Id", [0.0] * 31 + [1.0] * 31, np.tile(V, 2), np.r_[I, 2 * I])
             .encode(), refused="line 33, column 'Vg': the gate's voltage changes here"),
        Case("pairs-of-columns", text("V1,I1,V2,I2", V, I, V, I).encode(),
             refused="'V1' and 'V2' both hold the voltage"),
        Case("zeros", good.encode()[:40] + b"\0\0\0" + good.encode()[40:], refused="line .*no text"),
        Case("a-picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), refused="is a picture"),
        Case("an-old-workbook", b"\xd0\xcf\x11\xe0" + bytes(64), refused="save it as .xlsx"),
        Case("a-zip", b"PK\x03\x04" + bytes(64), refused="is no workbook"),
        Case("a-broken-parquet", b"PAR1" + bytes(64), refused="is no parquet file"),
        Case("noise", bytes(np.random.default_rng(1).integers(0, 256, 2000).astype(np.uint8)),
             refused="no text"),
        Case("cut-utf16", good.encode("utf-16")[:-1], refused="cut off or broken"),
        Case("html", b"<html><table><tr><td>V</td><td>I</td></tr></table></html>",
             refused="empty, or no table"),
        Case("percent", text("time,G (%)", TIME, G[0]).encode(), refused="unit '%' is not one of S"),
        Case("one-column", text("current", I).encode(), refused="empty, or no table"),
        Case("unnamed-cell", text("time,G (µS),cell", TIME, G[0] * 1e6, ["a", "", *"aaaaa"]).encode(),
             refused="line 3, column 'cell': the cell has no name"),
        Case("no-ohms", text("time,R", TIME, [0.0, *1 / G[0][1:]]).encode(), refused="0 Ω"),
        Case("two-sweeps-of-cells", text("cell,V,I", ["a"] * 31 + ["b"] * 31, np.tile(V, 2),
                                         np.tile(I, 2)).encode(), refused="sweeps of 2 cells"),
        Case("one-cell-chosen", text("cell,V,I", ["a"] * 31 + ["b"] * 31, np.tile(V, 2),
                                     np.r_[I, 2 * I]).encode(), "iv",
             {"voltage": V, "current": 2 * I}, reading={"cell": "b"}),
        Case("half-backwards", text("V,I", V, np.where(V < 0, -I, I) - 1e-9).encode(),
             refused="flow against"),
    ]  # fmt: skip


def workbook(sheets: dict[str, list[list[Any]]]) -> bytes:
    """Return an Excel workbook."""
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


CASES = [*_iv_cases(), *_pulse_cases(), *_other_cases(), *_bad_cases()]

"""`mho.cite` names the papers of just what is used; the table holds all docstrings' dois."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import mho
from mho.analysis import components
from mho.chip import Committee
from mho.citations import table
from mho.decomposition import NMF, StreamingBatchPCA
from mho.devices import presets
from mho.train import AGAD, InSitu, TikiTaka, recipes

ROOT = Path(__file__).parents[2]
NUMBER = (
    r"10\.\d{4,9}/(?:\(\d+\)|[^\s,;()\"'`\]])+|(?<=arXiv:)\d{4}\.\d{4,5}|(?<=arXiv )\d{4}\.\d{4,5}"
)


def keys(*used):
    return set(mho.cite(*used).entries) - {"mho"}


def parsed(text):
    """Read BibTeX character by character, as BibTeX does: what is outside entries is ignored."""
    entries, at = {}, 0
    while (at := text.find("@", at)) >= 0:
        kind, at = text[at + 1 : (brace := text.index("{", at))], brace + 1
        key, at = text[at : (comma := text.index(",", at))], comma + 1
        fields = {}
        while text[at:].lstrip()[0] != "}":
            name, at = text[at : (equals := text.index("=", at))].strip(), equals + 1
            assert text[at:].lstrip()[0] == "{"
            start = at = text.index("{", at) + 1
            depth = 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            assert name not in fields
            fields[name] = text[start : at - 1]
            at = text.index(",", at) + 1
        at = text.index("}", at) + 1
        assert key not in entries
        assert re.fullmatch(r"[a-z]+", kind)
        entries[key] = {"kind": kind, **fields}
    return entries


TABLE = parsed((ROOT / "src/mho/citations/papers.bib").read_text(encoding="utf-8"))


def numbers_of_the_sources():
    for path in sorted((ROOT / "src" / "mho").rglob("*.py")):
        text = re.sub(r"\s+#?\s*", " ", path.read_text(encoding="utf-8"))
        for found in re.findall(NUMBER, text):
            yield found.rstrip(".:"), path.name


def test_every_number_that_the_sources_name_is_in_the_table():
    known = {e[f].lower() for e in TABLE.values() for f in ("doi", "eprint") if f in e}
    named = dict(numbers_of_the_sources())
    assert len(named) > 100
    assert {number: file for number, file in named.items() if number.lower() not in known} == {}


@pytest.mark.parametrize("key", sorted(set(TABLE) - {"mho"}))
def test_every_entry_is_complete(key):
    entry = TABLE[key]
    where = {"article": "journal", "inproceedings": "booktitle"}[entry["kind"]]
    for name in ("author", "title", where):
        assert entry[name].strip()
    assert 1900 < int(entry["year"]) < 2030
    assert key.startswith(tuple("abcdefghijklmnopqrstuvwxyz"))
    assert entry["year"] in key
    assert "doi" in entry or ("eprint" in entry and entry["archiveprefix"] == "arXiv")
    # Names are "Family, Given"; a shortened list says so.
    assert all("," in name or name == "others" for name in entry["author"].split(" and "))
    assert ("others" in entry["author"]) == ("shortened" in entry.get("note", ""))


def test_a_doi_may_have_brackets_and_stand_in_brackets():
    said = "Sobol' (2001, doi 10.1016/S0378-4754(00)00270-6). Everett (doi 10.1287/opre.11.3.399)."
    assert table.numbers_in(said) == ("10.1016/s0378-4754(00)00270-6", "10.1287/opre.11.3.399")
    assert table.find("10.1016/s0378-4754(00)00270-6").key == "sobol2001"


def test_no_two_entries_are_of_one_paper():
    numbers = [e[f].lower() for e in TABLE.values() for f in ("doi", "eprint") if f in e]
    assert len(numbers) == len(set(numbers))
    titles = [re.sub(r"\W", "", e["title"]).lower() for e in TABLE.values()]
    assert len(titles) == len(set(titles))


def test_the_own_entry_is_that_of_the_citation_file():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    own = {name: value.strip("{}") for name, value in TABLE["mho"].items()}
    assert own["title"] == cff["title"]
    assert own["version"] == cff["version"] == mho.__version__
    assert own["author"] == cff["authors"][0]["name"]
    assert int(own["year"]) == cff["date-released"].year
    assert own["license"] == cff["license"]


def test_the_table_is_read_as_bibtex_reads_it():
    read = table.papers()
    assert set(read) == set(TABLE)
    for key, entry in read.items():
        assert dict(entry.fields) == {k: v for k, v in TABLE[key].items() if k != "kind"}


def test_ideal_hardware_cites_mho_alone():
    assert keys(mho.Hardware()) == set()
    assert len(mho.cite(mho.Hardware())) == 1


def test_every_part_adds_its_paper_and_nothing_else():
    pcm = mho.Hardware(device=mho.devices.PCM())
    assert keys(pcm) == {"joshi2020", "nandakumar2019"}
    telegraph = pcm.replace(effects=(mho.effects.TelegraphNoise(0.1),))
    assert keys(telegraph) - keys(pcm) == {"ambrogio2015", "puglisi2013"}
    ternary = pcm.replace(encoding=mho.encoding.Ternary())
    assert keys(ternary) - keys(pcm) == {"laborieux2020", "li2016"}
    copies = pcm.replace(encoding=mho.encoding.LEA(mho.encoding.Ternary(), 3))
    assert keys(copies) - keys(ternary) == {"yousuf2025"}


@pytest.mark.parametrize("preset", [p.name for p in presets.list()])
def test_a_preset_cites_what_its_docstring_names(preset):
    said = next(p.citation for p in presets.list() if p.name == preset)
    cited = str(mho.cite(presets.get(preset))).lower()
    for number in re.findall(NUMBER, re.sub(r"\s+", " ", said)):
        assert number.rstrip(".").lower() in cited


def test_changed_numbers_are_no_longer_the_presets():
    device = presets.get("ag_a_si")
    assert "jo2010" in keys(device)
    assert "jo2010" not in keys(device.replace(c2c=0.0))


def test_models_and_what_trains_them():
    layer = torch.nn.Linear(8, 4)
    model = torch.nn.Sequential(layer)
    assert keys(model) == set()
    analog = mho.convert(Committee([model]), mho.Hardware(device=mho.devices.ReRAMWan()))
    assert keys(analog) == {"joksas2020", "wan2022"}
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    cells = presets.get("gokmen_vlasov")
    streaming = InSitu(sgd, cells, decomposition=StreamingBatchPCA(2), model=model)
    assert keys(streaming) >= {"gokmen2016", "hoskins2019", "huang2023"}
    sgd = torch.optim.SGD(torch.nn.Linear(8, 4).parameters(), lr=0.1)
    assert "cichocki2009" in keys(InSitu(sgd, cells, decomposition=NMF(2)))
    assert "cichocki2009" not in keys(streaming)
    tiki = TikiTaka(model, 0.1, device=cells, rule=AGAD())
    assert keys(tiki) >= {"rasch2024", "gokmen2016", "gokmen2017"}
    assert "hoskins2019" not in keys(tiki)


def test_recipes_and_what_they_leave_on_a_model():
    recipe = recipes.ANALOG_FOUNDATION_MODEL
    assert "buechel2025" in keys(recipe)
    hardware = recipe.hardware(mho.Hardware(device=mho.devices.PCM()))
    student = recipe.prepare(torch.nn.Sequential(torch.nn.Linear(8, 4)), hardware)
    assert "buechel2025" in keys(student)


def test_components_cite_their_source():
    spec = [
        c for c in vars(components).values() if isinstance(c, type) and "Kull" in str(c.__doc__)
    ]
    assert keys(spec[0]()) >= {"shafiee2016", "kull2013"}


def test_classes_functions_and_several_at_once():
    assert keys(mho.devices.VTEAM) == {"kvatinsky2015"}
    assert keys(mho.compensate) == {"joshi2020"}
    both = mho.cite(mho.devices.VTEAM, [mho.devices.ReRAMWan()], {"of": mho.compensate})
    assert set(both.entries) == {"mho", "kvatinsky2015", "wan2022", "joshi2020"}
    assert both.used_by["joshi2020"] == ("compensate",)


@dataclasses.dataclass(frozen=True)
class Mine(mho.devices.LinearDevice):
    """A cell of somebody else's.

    Source: doi 10.5555/not.in.the_table, and arXiv:2404.15621 that is.
    """


def test_a_users_own_device_is_cited_by_its_number():
    cited = mho.cite(mho.Hardware(device=Mine()))
    read = parsed(str(cited))
    (own,) = set(read) - {"mho", "yousuf2025"}
    assert read[own]["doi"] == "10.5555/not.in.the_table"
    assert "not in mho's table" in read[own]["note"]


def test_the_text_is_bibtex_and_says_what_uses_a_paper():
    cited = mho.cite(presets.get("gokmen_vlasov"), mho.encoding.Ternary(), mho.devices.VTEAM)
    read = parsed(str(cited))
    assert list(read) == list(cited.entries)
    assert repr(cited) == str(cited)
    assert "% used by ConstantStep, preset gokmen_vlasov\n@article{gokmen2016," in str(cited)
    assert "@software{mho," in str(cited)


@pytest.mark.parametrize("other", [3, "pcm", None, torch.optim.SGD, [mho.Hardware(), 2.0]])
def test_what_is_not_mhos_is_refused(other):
    with pytest.raises(TypeError, match="cite expects"):
        mho.cite(other)
    with pytest.raises(TypeError, match="got nothing"):
        mho.cite()


def test_without_docstrings_it_says_so():
    program = (
        "import mho\ntry:\n    mho.cite(mho.Hardware())\nexcept RuntimeError as e:\n    print(e)"
    )
    command = [sys.executable, "-OO", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "run without -OO" in done.stdout, done.stderr

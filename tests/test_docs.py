"""The documents' code runs as it stands, block after block, as a reader would try it.

Pages are found, not listed: a new one is tested from the day it is written, and has to be in a table of
contents.
"""

import fnmatch
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import mho

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MADE = ("build", "generated", "_static", "_templates", "_ext")
GALLERIES = ("learn", "gallery")  # scripts; their pages are made from them


def sources(ending):
    """Pages of the site with this ending, and not what was built from them."""
    found = sorted(DOCS.rglob(f"*.{ending}"))
    made = (*MADE, *GALLERIES, "sg_execution_times.rst")
    return [p for p in found if p.relative_to(DOCS).parts[0] not in made]


PAGES = [ROOT / "README.md", *sources("md")]


def name(page):
    """Return a page's path as one reads it."""
    return page.relative_to(ROOT).as_posix()


class Model(torch.nn.Module):
    """What the README calls ``model``."""

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU())
        self.head = torch.nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.encoder(x))


def given():
    """Return what the README, which begins in the middle, takes for granted."""
    return {
        "dataclass": dataclass,
        "model": Model(),
        "inputs": torch.rand(20, 64),
        "x": torch.rand(20, 64),
        "y": torch.randint(10, (20,)),
        "d": torch.rand(3, 10),
        "weight": torch.randn(64, 10),
        "criterion": torch.nn.functional.cross_entropy,
    }


def blocks_of(page):
    """Return the Python of a page, fence by fence (also inside lists, tabs and admonitions)."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(
        r"^([ \t]*)```(?:python|\{code-block\} python)\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE
    )
    return [re.sub(rf"^{m[1]}", "", m[2], flags=re.MULTILINE) for m in found]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    blocks = blocks_of(page)
    if any("mho.compat.install(" in block for block in blocks):
        return by_itself(blocks)  # `import memtorch` must mean nothing to other tests
    torch.manual_seed(0)
    names = given() if page.name == "README.md" else {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"{name(page)}, block {number}", "exec"), names)


def by_itself(blocks):
    """Run a page in an interpreter of its own."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(blocks)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def entries(page):
    """Return what the tables of contents of a page name, as paths below ``docs`` with patterns."""
    text = page.read_text(encoding="utf-8")
    tables = re.findall(r"^`{3,}\{toctree\}\n(.*?)^`{3,}", text, re.DOTALL | re.MULTILINE)
    tables += re.findall(r"^\.\. toctree::\n((?:[ \t]+.*\n|\n)*)", text, re.MULTILINE)
    for line in "\n".join(tables).splitlines():
        entry = re.sub(r".*<(.*)>$", r"\1", line.strip())
        if not entry or entry.startswith((":", "http")):
            continue
        base = DOCS if entry.startswith("/") else page.parent
        path = os.path.normpath(base / entry.lstrip("/"))
        yield re.sub(r"\.(md|rst)$", "", os.path.relpath(path, DOCS))


def listed(pages):
    """Return which pages a reader reaches from the index by tables of contents."""
    names = {p.relative_to(DOCS).with_suffix("").as_posix(): p for p in pages}
    reached, ahead = set(), ["index"]
    while ahead:
        here = ahead.pop()
        if here in reached or here not in names:
            continue
        reached.add(here)
        for entry in entries(names[here]):
            # As in Sphinx, a star stays inside its folder.
            ahead += [
                n for n in names if n.count("/") == entry.count("/") and fnmatch.fnmatch(n, entry)
            ]
    return {names[n] for n in reached}


def test_every_page_is_in_a_table_of_contents():
    pages = [*sources("md"), *sources("rst")]
    assert [name(page) for page in sorted(set(pages) - listed(pages))] == []


def test_a_page_in_no_table_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "DOCS", tmp_path)
    (tmp_path / "deep").mkdir()
    index, found, deep, lost = (
        tmp_path / n for n in ("index.md", "found.md", "deep/down.md", "lost.md")
    )
    index.write_text("```{toctree}\n:glob:\n\nf*\nOther <deep/*>\n```\n")
    for page in (found, deep, lost):
        page.write_text("# A page\n")
    assert listed([index, found, deep, lost]) == {index, found, deep}


def anchors(page):
    """Return the anchors of a page: its headings, as code hosts write them, and named targets."""
    text = page.read_text(encoding="utf-8")
    included = re.findall(r"^```\{include\} (\S+)$", text, re.MULTILINE)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#{1,4} (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head).strip().lower() for head in heads]
    slugs = {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}
    named = set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    return slugs.union(named, *(anchors(page.parent / path) for path in included))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link) or "generated/" in path:
            continue
        target = page if not path else (page.parent / path).resolve()
        if not target.exists():
            broken.append(link)
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            broken.append(link)
    assert broken == []


def public():
    """Yield every public name of every module that says which names it offers."""
    offered = ["mho"]
    offered += [
        ".".join(p.relative_to(ROOT / "src").parent.parts)
        for p in sorted((ROOT / "src/mho").rglob("__init__.py"))
        if "__all__ = [" in p.read_text(encoding="utf-8")
    ]
    # The older packages' names are those packages' documents' subject; ours says what differs.
    older = ("mho.compat.memtorch", "mho.compat.xbtorch")
    return sorted({module for module in offered if not module.startswith(older)})


def test_every_module_with_public_names_is_in_the_api():
    """Its page is made from ``__all__``, name by name."""
    text = (DOCS / "api" / "index.rst").read_text(encoding="utf-8")
    listed_there = set(re.findall(r"^   (mho[\w.]*)$", text, re.MULTILINE))
    assert sorted(set(public()) - listed_there) == []

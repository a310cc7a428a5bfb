"""What the pages of evidence name is there: tests, scripts, figures, the numbers behind tables."""

import ast
import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "physics").glob("*.md")) + sorted((DOCS / "reproductions").glob("*.md"))
PAGES.append(DOCS / "benchmarks.md")
REPRODUCTIONS = sorted(p.stem for p in (DOCS / "reproductions").glob("*.md") if p.stem != "index")


def named(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_tests_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for file, functions in re.findall(r"`(tests/[\w/]+\.py)`: ((?:`test_\w+`(?:, )?)+)", text):
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        there = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        assert set(re.findall(r"`(test_\w+)`", functions)) <= there, file
    # Nothing is named in another way, which would not have been looked at.
    rest = re.sub(r"`tests/[\w/]+\.py`: (?:`test_\w+`(?:, )?)+", "", text)
    assert not re.findall(r"`test_\w+`", rest)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"(?:examples|benchmarks|tests)/[\w/]+\.py", text):
        assert (ROOT / path).is_file(), path
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", sorted((DOCS / "physics").glob("*.md")), ids=named)
def test_every_topic_has_references_and_bounds(page):
    text = page.read_text(encoding="utf-8")
    assert page.stem == "index" or "| claim | held to | bound" in text
    index = (DOCS / "physics" / "index.md").read_text(encoding="utf-8")
    assert page.stem == "index" or f"\n{page.stem}\n" in index


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_a_reproduction_has_script_figure_numbers_and_what_differs(name):
    text = (DOCS / "reproductions" / f"{name}.md").read_text(encoding="utf-8")
    assert f"python examples/reproductions/{name}.py --mnist" in text
    assert f"({name}.png)" in text
    assert "published" in text.lower()
    assert "## What differs" in text
    assert re.search(r"\d+ s on one core", text)
    assert (DOCS / "reproductions" / f"{name}.png").stat().st_size < 150_000
    with (DOCS / "reproductions" / f"{name}.csv").open(encoding="utf-8") as file:
        assert len(list(csv.reader(file))) > 5
    index = (DOCS / "reproductions" / "index.md").read_text(encoding="utf-8")
    assert f"\n{name}\n" in index


def test_every_script_has_its_page():
    scripts = {p.stem for p in (ROOT / "examples" / "reproductions").glob("*.py")} - {"common"}
    assert scripts == set(REPRODUCTIONS)

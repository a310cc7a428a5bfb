"""The table of papers: BibTeX entries, found by doi or arXiv number."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

OWN = "mho"  # the entry of mho itself

_ENTRY = re.compile(r"^@(\w+)\{(\w+),\n(.*?)^\}", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
# Brackets belong to it where they close again: 10.1016/S0378-4754(00)00270-6.
_DOI = re.compile(r"\b10\.\d{4,9}/(?:\([^\s()]*\)|[^\s,;()\"'`\]}])+")
_ARXIV = re.compile(r"arXiv[:\s]\s*(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Entry:
    """One paper.

    Attributes:
        key: what BibTeX calls it.
        fields: of BibTeX, by name: author, title, year, journal or booktitle, doi or eprint, …
        text: the entry as BibTeX.
    """

    key: str
    fields: Mapping[str, str]
    text: str

    @property
    def numbers(self) -> tuple[str, ...]:
        """The doi and the arXiv number by which docstrings name it, in lower case."""
        given = (self.fields.get("doi"), self.fields.get("eprint"))
        return tuple(number.lower() for number in given if number)


@dataclass(frozen=True, repr=False)
class Citations:
    """The papers behind a configuration; ``str`` is BibTeX, ready for a file.

    Attributes:
        entries: the papers by key, mho itself first, the others in the order of their keys.
        used_by: names of what uses each, by key.
    """

    entries: Mapping[str, Entry]
    used_by: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        """BibTeX; the lines between entries, which BibTeX ignores, say what uses the paper."""
        return "\n\n".join(
            f"% used by {', '.join(self.used_by[key])}\n{entry.text}"
            for key, entry in self.entries.items()
        )

    __repr__ = __str__

    def __len__(self) -> int:
        return len(self.entries)


def numbers_in(text: str) -> tuple[str, ...]:
    """Return the dois and arXiv numbers that a text names, in lower case, in order."""
    flat = re.sub(r"\s+", " ", text)
    dois = [(m.start(), m.group().rstrip(".:")) for m in _DOI.finditer(flat)]
    arxiv = [(m.start(), m.group(1)) for m in _ARXIV.finditer(flat)]
    return tuple(dict.fromkeys(number.lower() for _, number in sorted(dois + arxiv)))


@functools.cache
def papers() -> Mapping[str, Entry]:
    """Return all entries of the table by key."""
    text = resources.files(__package__).joinpath("papers.bib").read_text(encoding="utf-8")
    return {m[2]: Entry(m[2], dict(_FIELD.findall(m[3])), m[0]) for m in _ENTRY.finditer(text)}


@functools.cache
def _by_number() -> Mapping[str, Entry]:
    return {number: entry for entry in papers().values() for number in entry.numbers}


def find(number: str) -> Entry:
    """Return the entry of a doi or arXiv number.

    What the table has not (of a class that is not mho's) gets an entry that says no more than the
    number does.

    Args:
        number: in lower case.
    """
    known = _by_number().get(number)
    if known is not None:
        return known
    field = "doi" if "/" in number else "eprint"
    key = "unlisted_" + re.sub(r"\W+", "_", number)
    fields = {field: number, "note": "not in mho's table: complete this entry by its number"}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return Entry(key, fields, "\n".join([f"@misc{{{key},", *lines, "}"]))

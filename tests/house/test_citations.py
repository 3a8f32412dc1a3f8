# SPDX-License-Identifier: GPL-3.0-or-later
"""Citations of operator facts, of the vendor's pages and of "registry over HTTP" have their target in ``docs/``.

Forms: "operator fact 4.1", "operator facts 3.4.1, 4.7 and 5.1 to 5.3", "operator facts, section 8", "Registry v2 page,
Operate Storage", "newer pages (Storage, Image limits)", "registry over HTTP 2". A test named test_point_08_… cites 8.8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.house.test_words import ROOT, tracked

FACTS, PAGES = ROOT / "docs" / "operator-facts.md", ROOT / "docs" / "vendor-page.md"
CONTRACT = ROOT / "tests" / "contract" / "test_points.py"
RECORDINGS = ROOT / "tests" / "fixtures" / "traces"
SOURCES = {"recorded", "upstream", "derived", "vendor", "observed", "uncertain", "background"}

_NUMBER = r"\d+(?:\.\d+)*"
_LIST = rf"{_NUMBER}(?:(?:, and|,| and| to) {_NUMBER})*"
# Not where a colon follows: that is a text for users, who do not know the numbers. Nor the text of a link.
_FACT = re.compile(rf"operator facts?\b(?![:\]])(?:,? sections? (?P<section>{_LIST})| (?P<fact>{_LIST}))?", re.I)
_HTTP = re.compile(rf"registry over HTTP\b(?: (?P<fact>{_LIST}))?", re.IGNORECASE)
_PAGE = re.compile(
    r"(?P<page>Registry v2 page|newer(?: vendor)? pages)\b(?:, (?P<one>[^,.;:()\"]+)| \((?P<several>[^)]*)\))?",
    re.IGNORECASE,
)
_POINT = re.compile(r"def test_point((?:_\d\d)+)_")


@dataclass(frozen=True)
class Citation:
    """One citation as it stands in a file; ``targets`` is empty when it does not say what it cites."""

    place: str
    text: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One numbered fact; ``sources`` are the words in its closing parentheses, ``recordings`` the names among them."""

    text: str
    sources: frozenset[str]
    recordings: frozenset[str]


def _expanded(numbers: str) -> list[str]:
    """``3.1, 4 and 5.1 to 5.3`` as single numbers."""
    found: list[str] = []
    for word, number in re.findall(rf"(to )?({_NUMBER})", numbers):
        if word:
            stem, _, first = found[-1].rpartition(".")
            stop_stem, _, last = number.rpartition(".")
            assert stem == stop_stem, f"{numbers!r} is a range over two sections"
            assert int(first) < int(last), f"{numbers!r} is not a range"
            found += [f"{stem}.{step}".lstrip(".") for step in range(int(first) + 1, int(last) + 1)]
        else:
            found.append(number)
    return found


def citations(place: str, text: str) -> Iterator[Citation]:
    """Every citation in a text, also one that is broken over several lines of a comment."""
    flat = re.sub(r"\s*\n\s*(?:# )?\s*", " ", text)
    for match in _FACT.finditer(flat):
        kind = "section" if match["section"] else "fact"
        numbers = match["section"] or match["fact"] or ""
        yield Citation(place, match[0], tuple(f"{kind}-{number}" for number in _expanded(numbers)))
    for match in _HTTP.finditer(flat):
        yield Citation(place, match[0], tuple(f"http-{number}" for number in _expanded(match["fact"] or "")))
    for match in _PAGE.finditer(flat):
        titles = [match["one"]] if match["one"] else (match["several"] or "").split(", ")
        page = "Registry v2 page" if "v2" in match["page"] else "Newer pages"
        yield Citation(place, match[0], tuple(f"{page}/{title.strip()}" for title in titles if title.strip()))


def _contract_points(text: str) -> Iterator[Citation]:
    """The points of section 8: in the names of the tests, and in the list of those that recordings cover."""
    for match in _POINT.finditer(text):
        yield Citation(CONTRACT.name, match[0], tuple(f"fact-8.{int(n)}" for n in match[1].split("_")[1:]))
    covered = re.search(r"Covered by recordings[^:]*: ([\d, \nto]+);\s+in part also ([\d and]+)\.", text)
    assert covered, f"{CONTRACT} does not list the points that recordings cover"
    for numbers in covered.groups():
        targets = tuple(f"fact-8.{number}" for number in _expanded(" ".join(numbers.split())))
        yield Citation(CONTRACT.name, numbers, targets)


@cache
def cited() -> tuple[Citation, ...]:
    """Every citation in the repository."""
    found: list[Citation] = []
    for path in tracked():
        if path in (FACTS, PAGES, Path(__file__).resolve()) or path.is_relative_to(RECORDINGS):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += citations(str(path.relative_to(ROOT)), text)
    return (*found, *_contract_points(CONTRACT.read_text(encoding="utf-8")))


@cache
def facts() -> dict[str, Fact]:
    """The numbered facts by anchor. A fact reaches from its anchor to its closing parentheses in italics."""
    found = {}
    text = FACTS.read_text(encoding="utf-8")
    for anchor, body in re.findall(r'^- <a id="([a-z]+-[\d.]+)"></a>(.*?)(?=^- |^<a |^#|\Z)', text, re.M | re.S):
        said = re.search(r"\*\(([^()]*)\)\*\s*\Z", body)
        assert said, f"{anchor} does not end with how it is known"
        sources, recordings = set(), set()
        for part in re.split(r"; ", " ".join(said[1].split())):
            source, _, names = part.partition(": ")
            sources.add(source)
            recordings |= set(names.split(", ")) if names else set()
        found[anchor] = Fact(body, frozenset(sources), frozenset(recordings))
    return found


@cache
def targets() -> set[str]:
    """Everything that can be cited: facts, sections of facts, and the titles below each of the vendor's pages."""
    anchors = set(re.findall(r'<a id="([^"]+)"></a>', FACTS.read_text(encoding="utf-8")))
    found = {anchor if anchor in facts() else anchor.replace("fact-", "section-") for anchor in anchors}
    page = ""
    for level, title in re.findall(r"^(##|###) (.+)$", PAGES.read_text(encoding="utf-8"), re.MULTILINE):
        if level == "##":
            page = title
        else:
            found.add(f"{page}/{title}")
    return found


def test_every_citation_says_what_it_cites_and_that_exists() -> None:
    assert len(cited()) > 60, "the citations are not found any more"
    lost = [
        f"{citation.place}: {citation.text!r}: no {target or 'number or title'}"
        for citation in cited()
        for target in citation.targets or ("",)
        if target not in targets()
    ]
    assert not lost


def test_every_fact_and_every_section_of_the_pages_is_cited_or_background() -> None:
    used = {target for citation in cited() for target in citation.targets}
    idle = [anchor for anchor, fact in facts().items() if anchor not in used and "background" not in fact.sources]
    idle += sorted(target for target in targets() if "/" in target and target not in used)
    assert not idle


def test_every_fact_states_how_it_is_known() -> None:
    assert len(facts()) > 100, "the facts are not found any more"
    names = {path.stem for path in RECORDINGS.glob("*.jsonl")}
    wrong = [
        f"{anchor}: {sorted(fact.sources)} {sorted(fact.recordings)}"
        for anchor, fact in facts().items()
        if not fact.sources - {"background"}
        or fact.sources - SOURCES
        or fact.recordings - names
        or ("recorded" in fact.sources) != bool(fact.recordings)
    ]
    assert not wrong


def test_anchors_are_unique_and_what_the_documents_point_to_exists() -> None:
    text = FACTS.read_text(encoding="utf-8")
    anchors = re.findall(r'<a id="([^"]+)"></a>', text)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(anchors)
    numbers = re.findall(r'<a id="[a-z]+-([\d.]+)"></a>\*\*([\d.]*\d)', text)
    assert [anchor for anchor, shown in numbers if anchor != shown] == []
    files = [f"/{path.relative_to(ROOT)}" for path in tracked()]
    named = re.findall(r"`([\w/.-]+\.py)`", text + PAGES.read_text(encoding="utf-8"))
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []

"""The page: escaped, self-contained, within its size, complete in every state."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
import pytest

from stages.report.config import ReportConfig
from stages.report.page import SCRIPT, page
from stages.report.sections import Findings, comparison
from stages.report.words import percent

VOID = {"meta", "img", "br", "link", "input", "use", "path"}


class Reader(HTMLParser):
    """Collect elements, attributes and texts, and check that what opens is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(found: Findings, **config: Any) -> Reader:
    return Reader(page(found, ReportConfig(**config)).html)


def test_hostile_names_ids_and_texts_are_only_text(make_rows: Any, make_findings: Any, hostile: list[str]) -> None:
    evil = '"><script>alert(1)</script>'
    ids = [f"{evil}{i}" for i in range(200)]
    rows = make_rows(names=hostile, sample_id=ids)
    own = pa.table({"sample_id": ids, evil: [evil] * 200, "link": ["javascript:alert(1)"] * 200})
    step = make_findings().steps[0]
    found = make_findings(
        rows, own=own, title=evil, broken=[(evil, evil)],
        steps=[type(step)(evil, evil, evil, evil, 1.0, 1.0, evil)], software={evil: evil},
    )  # fmt: skip
    seen = read(found)
    assert seen.tags.count("script") == 1  # our own
    assert not [a for a in seen.attributes if a[1].startswith("on")]
    assert not [a for a in seen.attributes if a[1] == "href" and not a[2].startswith("#")]
    assert seen.text.count(evil) > 20
    for name in hostile:
        assert name[:80].split("\n")[0] in seen.text


def test_the_page_asks_nothing_of_anybody(make_findings: Any, blots: Any) -> None:
    own = pa.table({"sample_id": [f"img/{i:05d}" for i in range(200)], "url": ["https://example.org/x"] * 200})
    found = make_findings(pictures=blots, own=own)
    html = page(found, ReportConfig()).html
    seen = Reader(html)
    sources = [value for _, name, value in seen.attributes if name in ("src", "srcset", "data", "poster", "xlink:href")]
    assert sources
    assert all(value.startswith(("data:", "#")) for value in sources)
    links = [(tag, value) for tag, name, value in seen.attributes if name == "href" and not value.startswith("#")]
    assert {tag for tag, _ in links} == {"a"}
    assert not {"link", "iframe", "object", "form"} & set(seen.tags)
    assert "@import" not in html
    assert not re.search(r"url\((?!#|['\"]?data:)", html)
    policy = next(v for t, n, v in seen.attributes if t == "meta" and n == "content" and "default-src" in v)
    assert policy.startswith("default-src 'none'")
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert policy.endswith(f"script-src 'sha256-{digest}'")  # no other script may run
    assert f"<script>{SCRIPT}</script>" in html


def test_only_a_whole_address_becomes_a_link(make_findings: Any) -> None:
    text = ["https://example.org/x , but"] * 200
    own = pa.table({"sample_id": [f"img/{i:05d}" for i in range(200)], "text": text})
    seen = read(make_findings(own=own))
    assert "https://example.org/x , but" in seen.text
    assert [v for _, name, v in seen.attributes if name == "href" and not v.startswith("#")] == []


def test_an_open_gate_shows_purified_labels_with_ids_to_copy(make_findings: Any) -> None:
    found = make_findings()
    seen = read(found)
    assert found.verdict().sentence in seen.text
    assert "What was changed" in seen.text
    for index in found.rows.changed.nonzero()[0][:3]:
        assert found.rows.classes[found.rows.given[index]] in seen.text
    assert sum(a == ("code", "class", "id") for a in seen.attributes) > 20
    assert "90.0" in seen.text  # trained on purified labels
    assert "2.5" in seen.text  # seconds of purify
    assert "truncated" in seen.text


def test_a_closed_gate_marks_suggestions_as_such(make_rows: Any, make_findings: Any) -> None:
    seen = read(make_findings(make_rows(applied=False)))
    assert "What would have been changed" in seen.text
    assert "none of these labels was changed" in seen.text
    assert "Purified labels right" not in seen.text
    assert "Suggestions that differ" in seen.text
    assert "Relabelled" not in seen.text
    assert ("article", "class", "group suggested") in seen.attributes


def test_method_and_baselines_are_compared_by_the_same_count(make_findings: Any) -> None:
    found = make_findings()
    assert found.rows.differs.sum() > found.rows.changed.sum()  # some are to review, some are trusted
    method = comparison(found)[-1]
    asked = (found.rows.train & (found.rows.given >= 0)).sum()
    assert method.note == f"differs in {percent(found.rows.differs.sum() / asked)} of the train rows"


@pytest.mark.parametrize("limit", [0.5, 1.0])
def test_a_page_keeps_its_size_and_says_what_it_left_out(
    make_rows: Any, make_findings: Any, blots: Any, limit: float
) -> None:
    big = type(blots)(20_000)
    found = make_findings(make_rows(count=3000), pictures=big)
    made = page(found, ReportConfig(max_megabytes=limit, per_group=100))
    assert len(made.html.encode()) <= limit * 1e6
    assert len(made.html.encode()) > 0.6 * limit * 1e6
    assert made.left_out > 0
    assert "chosen rows are not shown" in Reader(made.html).text
    assert page(found, ReportConfig(per_group=2, groups=3, review_rows=1, oddities=1)).left_out == 0


@pytest.mark.parametrize(
    ("count", "names", "wrong"),
    [
        (0, ["a", "b"], 0.0),
        (1, ["only"], 0.0),
        (40, ["no", "yes"], 0.0),
        (800, [f"class {i}" for i in range(1000)], 0.5),
    ],
    ids=["no rows", "one row of one class", "all kept", "1,000 classes"],
)
def test_every_size_of_dataset_makes_a_page(
    make_rows: Any, make_findings: Any, count: int, names: list[str], wrong: float
) -> None:
    rows = make_rows(count=count, names=names, wrong=wrong)
    seen = read(make_findings(rows))
    if wrong == 0:
        assert "No label was changed" in seen.text
    else:
        assert "40 classes with the most changes, of 1,000" in seen.text
        assert "smaller groups" in seen.text


def test_a_page_without_any_evidence_still_says_so(make_findings: Any) -> None:
    bare = make_findings(summary={}, broken=[], reliability=[], model=None, steps=[], software={})
    text = read(bare).text
    assert "There are no trusted rows to judge by" in text
    assert "The share of wrong labels is not known" in text
    assert "was not measured" in text
    assert "The retrained model" not in text


def test_own_columns_stand_beside_the_rows_as_chosen(make_findings: Any) -> None:
    ids = [f"img/{i:05d}" for i in range(200)]
    columns = {"sample_id": ids, "one": ["first text"] * 200, "two": [2 / 3] * 200, "three": [""] * 200, "four": ids}
    own = pa.table(columns)
    text = read(make_findings(own=own)).text
    assert "first text" in text
    assert "0.666667" in text
    assert "three" not in text
    assert "four" not in text
    assert "first text" not in read(make_findings(own=own), columns=["two"]).text


def test_seconds_can_be_left_out_and_the_page_is_the_same_each_time(make_findings: Any) -> None:
    assert "Seconds" not in read(make_findings(), times=False).text
    assert page(make_findings(), ReportConfig()).html == page(make_findings(), ReportConfig()).html

"""The page in a real browser, with hostile names, at the width of a desk and of a phone."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.features import Features
from stages.report.config import ReportConfig
from stages.report.map import feature_map
from stages.report.page import page

EVIL = '"><script>window.evil = 1</script><img src=x onerror="window.evil = 2">'


@pytest.fixture
def written(make_rows: Any, make_findings: Any, blots: Any, hostile: list[str], tmp_path: Path) -> Path:
    ids = [f"{EVIL}{i:05d}" for i in range(200)]
    rows = make_rows(names=[*hostile, EVIL], sample_id=ids)
    spread = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    table = pa.table({"sample_id": ids, "status": ["ok"] * 200})
    drawn = feature_map(Features(table, (spread,)), rows, 100, "pca")
    own = pa.table({"sample_id": ids, EVIL: ["ж" * 300] * 200})
    found = make_findings(rows, own=own, title=EVIL, pictures=blots, map=drawn, software={EVIL: EVIL})
    path = tmp_path / "report.html"
    path.write_text(page(found, ReportConfig()).html, encoding="utf-8")
    return path


@pytest.mark.browser
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 800)])
def test_a_report_is_laid_out_well_and_runs_nothing_of_the_users(
    browser: Any, written: Path, width: int, height: int
) -> None:
    browser.open(written, width, height)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("typeof window.evil") == "undefined"
    assert browser.run("document.scripts.length") == 2  # ours, and the map's data
    assert browser.run("document.title").startswith(EVIL)
    hidden = "[...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.getAttribute('href')))"
    assert browser.run(f"{hidden}.length") == 0
    point = "document.querySelector('#map-drawing circle:nth-child(7)')"
    browser.run(f"{point}.dispatchEvent(new PointerEvent('pointerover', {{bubbles: true}}))")
    shown = browser.run("document.querySelector('#map-card code').textContent")
    assert shown.startswith(EVIL)
    assert not browser.run("document.getElementById('map-card').hidden")
    browser.run("document.querySelector('#changes code.id').click()")
    assert browser.run("new Promise(r => setTimeout(() => r(document.getElementById('said').hidden), 200))") is False
    browser.run("const words = e => !e.children.length && e.textContent.trim() && !e.closest('svg'); 0")
    sizes = "[...document.body.querySelectorAll('*')].filter(words).map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert browser.run(f"Math.min(...{sizes})") >= 9
    assert browser.complaints == []

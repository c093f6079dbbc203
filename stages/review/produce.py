"""Pick rows and write them down: a page to review them on, and a table that says how each was chosen."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.datasets.images import open_images
from pipeline.errors import DataError
from stages.images.thumbnails import Pictures
from stages.review.config import ReviewConfig
from stages.review.core import pick
from stages.review.evidence import pool_of, read_evidence
from stages.review.page import Shown, page
from stages.shell import Context

PAGE_FILE = "review.html"
ROWS_FILE = "rows.parquet"


def produce(config: ReviewConfig, context: Context) -> dict[str, Any]:
    """Read a run's artifacts, choose rows, write the page."""
    evidence = read_evidence(
        context.input("annotations"), context.input("neighbours"), context.optional_input("labels")
    )
    pool = pool_of(evidence, context.store, config.decided)
    if not len(pool):
        raise DataError(
            f"none of {len(evidence.annotations)} rows is left to review: all train rows are trusted or decided.",
            "Run `puriflow clean` to use the decisions.",
        )
    picked = pick(pool, config)
    images = context.optional_input("images")
    pictures = Pictures(open_images(images), config.thumbnail) if images else None
    context.progress.report("page", 1, 2, "steps")
    rows, drawn = pool.rows[picked.places], picked.drawn.astype(bool)
    shown = Shown(evidence, rows.tolist(), drawn.tolist(), pictures, context.request.key)
    (context.folder / PAGE_FILE).write_text(page(shown, config), encoding="utf-8")
    ids = evidence.annotations.sample_ids
    table = pa.table(
        {
            "sample_id": [ids[row] for row in rows.tolist()],
            "row": pa.array(rows, pa.int64()),
            "drawn": pa.array(drawn),
            "score": pa.array(picked.scores, pa.float64()),
        }
    )
    pq.write_table(table, context.folder / ROWS_FILE)
    return {
        "dataset": evidence.annotations.dataset, "rows": len(rows), "drawn": int(drawn.sum()),
        "pool": len(pool), "share": picked.share, "method": config.method,
    }  # fmt: skip

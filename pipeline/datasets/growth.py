"""How much of a dataset an earlier encoder knows: the figure behind `represent.refresh_when_grown`."""

import pyarrow as pa
import pyarrow.compute as pc


def covered(known: pa.ChunkedArray | pa.Array, today: pa.ChunkedArray | pa.Array) -> float:
    """Return the share of today's images (by checksum of their content) that were known; 1 where there are none."""
    if len(today) == 0:
        return 1.0
    return float(pc.mean(pc.is_in(today, value_set=known)).as_py())

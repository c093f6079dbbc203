"""How much of a dataset an encoder knows."""

import pyarrow as pa

from pipeline.datasets.growth import covered


def test_the_share_of_known_images_is_counted_by_today_s_images() -> None:
    known, today = pa.chunked_array([["a", "b"], ["c"]]), pa.array(["c", "d", "a", "a"])
    assert covered(known, today) == 0.75
    assert covered(today, known) == 2 / 3


def test_a_dataset_without_images_is_known_and_one_never_seen_is_not() -> None:
    nothing = pa.array([], pa.string())
    assert covered(nothing, nothing) == 1.0
    assert covered(nothing, pa.array(["a"])) == 0.0

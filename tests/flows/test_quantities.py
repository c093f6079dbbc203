"""Numbers as people read them, rounded so that they stay true."""

import pytest

from flows.quantities import count, counted, duration, percent, rate, size


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.6, "60.0 %"), (1.0, "100.0 %"), (0.9999, "99.9 %"), (0.0, "0.0 %"), (0.0001, "< 0.1 %"), (0.95449, "95.4 %")],
)
def test_all_and_none_are_said_only_where_they_are_true(share: float, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3700, "1 h 01 min"), (90_000, "1 d 01 h")],
)
def test_times_have_their_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (250e6, "250 MB"), (3e12, "3.0 TB")]
)
def test_sizes_have_the_unit_that_fits(number: float, words: str) -> None:
    assert size(number) == words


def test_counts_and_rates_are_short() -> None:
    assert (count(12345), count(1.5)) == ("12,345", "1.5")
    assert (counted(1, "row"), counted(2, "row"), counted(2, "class", "classes")) == ("1 row", "2 rows", "2 classes")
    assert (rate(12345.6, "images"), rate(0.1234, "rows"), rate(0, "rows")) == ("12,346 images/s", "0.123 rows/s", "")

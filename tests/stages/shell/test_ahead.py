"""Working ahead of the reader."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from stages.shell.ahead import run_ahead


def test_results_come_in_order_whichever_is_ready_first() -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (5 - item % 5))
        return item * item

    with ThreadPoolExecutor(4) as pool:
        assert list(run_ahead(pool, work, range(20), 6)) == [i * i for i in range(20)]


def test_no_more_is_begun_than_was_asked_for() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        results = run_ahead(pool, begun.append, range(100), 3)
        next(results)
        assert len(begun) <= 4
        results.close()
    assert len(begun) <= 4


def test_a_fault_reaches_the_reader_at_its_place() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = run_ahead(pool, lambda item: 1 // item, [1, 2, 0, 1], 2)
        assert [next(results), next(results)] == [1, 0]
        with pytest.raises(ZeroDivisionError, match="by zero"):
            next(results)

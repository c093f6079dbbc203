"""What a worker is told by its environment."""

from pathlib import Path

import pytest

from flows.service.surroundings import read_surroundings
from pipeline.errors import ConfigError


def test_a_worker_without_a_store_says_so() -> None:
    with pytest.raises(ConfigError, match="PURIFLOW_STORE names no store"):
        read_surroundings({})


def test_the_data_root_is_the_only_folder_that_may_be_read_unless_more_are_named() -> None:
    told = {"PURIFLOW_STORE": "/store", "PURIFLOW_DATA_ROOT": "/data"}
    assert read_surroundings(told).roots == (Path("/data"),)
    assert read_surroundings({**told, "PURIFLOW_DATA_ROOTS": "/data:/more"}).roots == (Path("/data"), Path("/more"))


def test_resources_are_the_operators() -> None:
    told = {"PURIFLOW_STORE": "/store", "PURIFLOW_DEVICE": "cpu", "PURIFLOW_WORKERS": "3", "PURIFLOW_CACHE_GIB": "2.5"}
    resources = read_surroundings(told).resources
    assert (resources.device, resources.workers, resources.cache_gib) == ("cpu", 3, 2.5)


def test_resources_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match="PURIFLOW_WORKERS do not fit"):
        read_surroundings({"PURIFLOW_STORE": "/store", "PURIFLOW_WORKERS": "many"})

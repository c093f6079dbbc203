"""The surroundings of every test: one thread, no network, no settings of the person who runs them."""

import os
import tempfile
from pathlib import Path

import pytest

# Before torch, numpy or Prefect are first imported, here and in the child processes that tests start.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "NO_COLOR": "1",
}


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a home of its own: no settings are read from the person's, nothing is left in it."""
    home = tempfile.TemporaryDirectory(prefix="puriflow-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    for name in [n for n in os.environ if n.startswith(("PREFECT_", "PURIFLOW_", "AWS_"))]:
        if name != "PREFECT_SERVER_ANALYTICS_ENABLED":
            del os.environ[name]
    os.environ |= {
        "HOME": home.name,
        "PREFECT_HOME": str(Path(home.name, ".prefect")),
        "XDG_CACHE_HOME": str(Path(home.name, ".cache")),
        "XDG_CONFIG_HOME": str(Path(home.name, ".config")),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(Path(home.name, "aws")),
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)

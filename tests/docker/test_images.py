"""What is in the images, and what is not."""

import json
import re
from collections.abc import Callable

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LIST = """
import os, json
found = []
for folder, names, files in os.walk("/"):
    names[:] = [n for n in names if os.path.join(folder, n) not in ("/proc", "/sys", "/dev", "/scratch")]
    found += [os.path.join(folder, name) for name in files]
print(json.dumps(found))
"""
COMPILERS = re.compile(r"/bin/([\w-]*-)?(gcc|g\+\+|cc|c\+\+|cpp|clang|ld|rustc|cargo|nvcc|make|cmake|uv)([-.\d]*)$")
CACHES = re.compile(r"/(\.cache|\.npm|\.cargo)/|/var/(cache|lib)/apt/|\.whl$|^/(tmp|root)/")
OURS = re.compile(
    r"^/opt/code/(?!pipeline/|stages/|flows/|puriflow-[\d.]+\.dist-info/|bin/puriflow$)|^/src/|^/requirements/"
)
SECRETS = re.compile(
    r"/(\.env|\.git|\.netrc|\.pypirc|pip\.conf|uv\.toml|id_rsa|id_ed25519|credentials)$|/\.(git|aws|ssh)/|\.key$"
)
PACKAGES = "/site-packages/"


def files_of(engine: Callable, image: str) -> set[str]:
    done = engine("run", "--rm", "--network=none", "--user=0", "--entrypoint=python", image, "-c", LIST)
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module", params=["flow", "stage"])
def image(request: pytest.FixtureRequest, images) -> str:
    if request.param == "stage" and not images.real:
        pytest.skip("the real stage image was not built (`make images`)")
    return str(getattr(images, request.param))


def test_nothing_was_added_that_only_a_build_needs(engine, image: str) -> None:
    told = json.loads(engine("image", "inspect", image).stdout)[0]["Config"]
    base = told["Labels"]["org.opencontainers.image.base.name"]
    added = files_of(engine, image) - files_of(engine, base)
    assert "/opt/code/flows/clean.py" in added
    for what, pattern in (("compilers", COMPILERS), ("caches", CACHES), ("files of ours", OURS), ("secrets", SECRETS)):
        found = sorted(path for path in added if pattern.search(path))
        assert not found, f"{what} in {image}: {found[:10]}"
    assert not re.search(r"(?i)(password|secret|token)=", " ".join(told["Env"]))


def test_it_runs_as_nobody_and_says_what_it_is(engine, image: str) -> None:
    told = json.loads(engine("image", "inspect", image).stdout)[0]["Config"]
    assert told["User"] == "10001:10001"
    labels = {name.rpartition(".")[2]: value for name, value in told["Labels"].items()}
    assert labels["licenses"] == "Apache-2.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["version"])
    assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])


def test_the_versions_are_those_of_the_constraints(engine, image: str) -> None:
    script = "from importlib.metadata import distributions as d; print(*sorted(f'{p.name}=={p.version}' for p in d()))"
    inside = engine("run", "--rm", "--network=none", image, "python", "-c", script).stdout.split()
    pins = engine("run", "--rm", "--network=none", image, "cat", "/opt/constraints.txt").stdout
    known = {re.sub(r"[-_.]+", "-", line).lower() for line in pins.split() if "==" in line}
    loose = [one for one in inside if re.sub(r"[-_.]+", "-", one).lower() not in known and "puriflow==" not in one]
    assert not loose
    assert len(inside) > 100


def test_the_small_image_has_flows_and_workers_and_no_torch(engine, images) -> None:
    script = """
import importlib.util as i, flows.clean, flows.service.stages, prefect_docker, prefect_kubernetes, s3fs, asyncpg
assert not [n for n in ("torch", "torchvision", "triton", "faiss", "nvidia") if i.find_spec(n)]
"""
    told = engine(
        "run", "--rm", "--network=none", "--read-only", images.flow, "python", "-P", "-c", script, check=False
    )
    assert told.returncode == 0, told.stderr
    size = json.loads(engine("image", "inspect", images.flow).stdout)[0]["Size"]
    assert size < 1.5e9


def test_there_is_no_shell_history_of_the_index(engine, image: str) -> None:
    """No layer tells where packages came from: a company's own index may have a password in its address."""
    assert not re.search(r"https?://\S+:\S+@", engine("history", "--no-trunc", image).stdout)

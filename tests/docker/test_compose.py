"""compose.yaml against its schema, its example of settings and what we promise of it. No engine is needed."""

import configparser
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "docker"
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
EXAMPLE = (FOLDER / ".env.example").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
NEEDED = {name: "1" for name, kind, _ in VARIABLE.findall(TEXT) if kind == "?"}


def filled_in(text: str) -> dict[str, Any]:
    """Read a compose file as compose does, with the fewest settings."""
    plain = VARIABLE.sub(lambda found: NEEDED.get(found[1]) or (found[3] or ""), text)
    return {name: part for name, part in yaml.safe_load(plain).items() if not name.startswith("x-")}


SERVICES = filled_in(TEXT)["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("puriflow-")}


def check(document: dict[str, Any]) -> None:
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(document))


def test_it_fits_the_schema_of_compose_files() -> None:
    check(filled_in(TEXT))
    with pytest.raises(ValueError, match="restrat"):
        check(filled_in(TEXT.replace("restart: unless-stopped", "restrat: unless-stopped", 1)))


def test_the_example_names_every_setting_and_no_other() -> None:
    named = set(re.findall(r"^#?([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    assert named == {name for name, _, _ in VARIABLE.findall(TEXT)}
    without_default = set(re.findall(r"^([A-Z0-9_]+)=$", EXAMPLE, re.MULTILINE))
    assert without_default == set(NEEDED)
    defaults = dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert all(defaults[name] == default for name, kind, default in VARIABLE.findall(TEXT) if kind == "-")


def test_no_secret_stands_in_the_file_or_on_a_command_line() -> None:
    for name, one in SERVICES.items():
        assert not [word for word in one.get("command", []) if re.search("PASSWORD|AUTH|SECRET", word)], name
    assert not re.search(r"password: *\w", TEXT, re.IGNORECASE)


def test_what_waits_for_a_service_waits_for_its_health() -> None:
    for name, one in SERVICES.items():
        for other, how in one.get("depends_on", {}).items():
            assert other in SERVICES, (name, other)
            ends = how["condition"] == "service_completed_successfully"
            assert ends or "healthcheck" in SERVICES[other], (name, other)
    lasting = {name for name, one in SERVICES.items() if one["restart"] == "unless-stopped"}
    assert {name for name in lasting if "healthcheck" not in SERVICES[name]} == {"proxy"}


def test_our_containers_have_no_rights_and_the_images_versions() -> None:
    for name, one in OURS.items():
        assert (one["cap_drop"], one["read_only"]) == (["ALL"], True), name
        assert one["security_opt"] == ["no-new-privileges:true"], name
    assert all(re.search(r":\d", one["image"]) for one in SERVICES.values())
    assert not re.search("minio|garage", TEXT), "their licence is the AGPL"


def test_nobody_else_on_the_network_reaches_the_server_without_the_proxy() -> None:
    opened = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert opened == {"server": ["127.0.0.1:4200:4200"], "proxy": ["80:80", "443:443"]}
    assert SERVICES["proxy"]["profiles"] == ["tls"]


def test_every_pool_has_a_worker() -> None:
    from flows.service.pools import POOLS

    pools = [one["command"][one["command"].index("--pool") + 1] for one in OURS.values() if "worker" in one["command"]]
    assert sorted(pools) == sorted(pool.name for pool in POOLS)


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load docker/objects.py, which only the image of flows runs."""
    found = importlib.util.spec_from_file_location("compose_objects", FOLDER / "objects.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return module


def test_keys_are_made_once_and_server_and_runs_are_told_the_same(objects: Any, tmp_path: Path) -> None:
    objects.make_keys()
    (identity,) = json.loads((tmp_path / "s3.json").read_text(encoding="utf-8"))["identities"]
    ours = configparser.ConfigParser()
    ours.read(tmp_path / "credentials")
    wanted = {"accessKey": ours["default"]["aws_access_key_id"], "secretKey": ours["default"]["aws_secret_access_key"]}
    assert identity["credentials"] == [wanted]
    assert len(wanted["secretKey"]) >= 40
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    objects.make_keys()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_store_that_is_no_bucket_is_told_at_once(objects: Any) -> None:
    with pytest.raises(SystemExit, match="PURIFLOW_STORE is /store: with the profile s3 name a bucket"):
        objects.make_bucket("/store")

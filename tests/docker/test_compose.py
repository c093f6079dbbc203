"""compose.yaml against its schema, its example of settings and what we promise of it. No engine is needed."""

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

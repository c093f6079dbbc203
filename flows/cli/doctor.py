"""`puriflow doctor`: say whether this machine is fit."""

from rich.console import Console

from flows.cli.options import STORE_FOLDER, AsJson, StoreUrl
from flows.cli.output import emit, say

EXAMPLE = "puriflow doctor"
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def command(store: StoreUrl = "", as_json: AsJson = False) -> int:
    """Check versions, devices, disk, store and service.

    Exit code 2 where something will not work.
    """
    from flows.doctor import Check, examine
    from flows.service.health import examine_service, known_api

    checks = list(examine(store or STORE_FOLDER))
    api = known_api()
    checks += examine_service(api) if api else []
    failed = sum(check.state == "fail" for check in checks)

    def render(console: Console) -> None:
        def line(check: Check) -> str:
            return f"{check.state:5}{check.name:15}{check.found}" + (f" → {check.remedy}" if check.remedy else "")

        for check in checks:
            say(console, line(check), COLOURS[check.state] if check.state != "ok" else "")
        say(console, f"{failed} fault(s): see the lines above." if failed else "This machine is fit for puriflow.")

    emit({"fit": not failed, "checks": [check.to_dict() for check in checks]}, as_json, render)
    return 2 if failed else 0

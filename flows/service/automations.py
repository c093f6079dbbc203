"""What the server does by itself: tell the dead from the living, retrain on new labels, send word of failures."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from pydantic import SecretStr

from flows.service.events import PUBLISHED

WEBHOOK_ENV = "PURIFLOW_WEBHOOK"
WEBHOOK_BLOCK = "puriflow-webhook"
HEARTBEAT = "prefect.flow-run.heartbeat"
SILENT_SECONDS = 300  # ten heartbeats: a server that is away for minutes must not end runs that live
PARENTS = ["clean-dataset", "compare-methods"]
ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Cached", "Failed", "Cancelled", "Crashed")}
MESSAGE = """\
{"text": {{ (flow_run.name ~ " ended " ~ flow_run.state.name ~ ": " ~ (flow_run.state.message or "see its log") \
~ "\\nMend what it says and run it again: what was finished is kept. " ~ (flow_run | ui_url)) | tojson }}}"""


def bring_automations(client: SyncPrefectClient) -> list[str]:
    """Create or update the automations; whether they are on is left as people set it. Return their names."""
    wanted = [silent_runs(), retrain_on_labels(client), *messages()]
    for automation in wanted:
        there = client.read_automations_by_name(automation.name)
        if not there:
            client.create_automation(automation)
        for known in there[:1]:
            client.update_automation(known.id, automation.model_copy(update={"enabled": known.enabled}))
    return [f"{automation.name}{'' if automation.enabled else ' (off)'}" for automation in wanted]


def silent_runs() -> AutomationCore:
    """End runs whose process, and whose worker, are gone: nobody else would ever tell."""
    return AutomationCore(
        name="puriflow: silent runs have crashed",
        description=f"A run that sends no heartbeat for {SILENT_SECONDS} s has lost its process; run it again.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDS},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENT_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message="Its process ended without a word: the machine went down, or memory ran out. "
                "Run it again: it goes on from the last checkpoint.",
            )
        ],
    )


def retrain_on_labels(client: SyncPrefectClient) -> AutomationCore:
    """Train a model whenever labels are published: for schedules that stop at the label table."""
    return AutomationCore(
        name="puriflow: retrain on new labels",
        description="For schedules with retrain.enabled: false. Switch it on to train on every published label table.",
        enabled=False,
        trigger=EventTrigger(
            expect={PUBLISHED},
            match={"prefect.resource.id": ["puriflow.dataset.*"]},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=client.read_deployment_by_name("retrain/retrain").id,
                parameters={"run": from_event("{{ event.payload.run }}")},
            )
        ],
    )


def messages() -> Iterator[AutomationCore]:
    """Send one message for a failed run, to the address that the operator's environment names."""
    url = os.environ.get(WEBHOOK_ENV, "")
    if not url:
        return
    block = Webhook(method="POST", url=SecretStr(url)).save(WEBHOOK_BLOCK, overwrite=True)
    yield AutomationCore(
        name="puriflow: send word of failures",
        description=f"Posts one message for every failed run, not for its stages, to the address in {WEBHOOK_ENV}.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            match_related={
                "prefect.resource.role": "flow",
                "prefect.resource.name": PARENTS,
            },
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[CallWebhook(block_document_id=UUID(str(block)), payload=MESSAGE)],
    )


def from_event(template: str) -> dict[str, Any]:
    """Write a parameter that is taken from the event."""
    return {"__prefect_kind": "jinja", "template": template}

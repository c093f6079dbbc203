"""How runs become Kubernetes jobs: the same images, under the same restrictions."""

from typing import Any

from flows.service.containers import SCRATCH, TOLD, Containers
from flows.service.pools import Pool, template

GRACE_SECONDS = 90  # for a checkpoint
KEEP_SECONDS = 3600  # an ended job, so that somebody can look at it
START_SECONDS = 900  # a new node comes up, and several gigabytes of image with it
SHARED_MEMORY = "8Gi"
SECRET = "puriflow"  # what must not be read in a template, such as the keys of an S3 store
GPU = "nvidia.com/gpu"


def job_template(pool: Pool, containers: Containers) -> dict[str, Any]:
    """Run flows as jobs of one pod each; a lost one is tried again by the parent, not by the cluster."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": containers.namespace, "labels": {"app.kubernetes.io/part-of": "puriflow"}},
        "spec": {
            "backoffLimit": 0, "ttlSecondsAfterFinished": KEEP_SECONDS, "template": {"spec": pod(pool, containers)},
        },
    }  # fmt: skip
    return template(
        {
            "namespace": containers.namespace, "job_manifest": job, "env": {**TOLD, **dict(containers.environment)},
            "stream_output": False, "pod_watch_timeout_seconds": START_SECONDS,
        }
    )  # fmt: skip


def pod(pool: Pool, containers: Containers) -> dict[str, Any]:
    """Describe the pod of a run."""
    uid, gid = (int(number) for number in containers.user.split(":"))
    claims = [volume.split(":") for volume in containers.volumes]
    names = dict.fromkeys(name for name, *_ in claims)
    memory = {"medium": "Memory", "sizeLimit": SHARED_MEMORY}
    gpu = {"tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]}
    return {
        "restartPolicy": "Never", "parallelism": 1, "completions": 1,  # Prefect wants the last two here
        "terminationGracePeriodSeconds": GRACE_SECONDS, "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": uid, "runAsGroup": gid, "fsGroup": gid,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "prefect-job", "image": containers.image_of(pool), "imagePullPolicy": "IfNotPresent",
                "envFrom": [{"secretRef": {"name": SECRET, "optional": True}}],
                "resources": resources(pool, containers),
                "securityContext": {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "scratch", "mountPath": SCRATCH}, {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "shm", "mountPath": "/dev/shm"},
                    *({"name": name, "mountPath": path, "readOnly": more == ["ro"]} for name, path, *more in claims),
                ],
            }
        ],
        "volumes": [
            {"name": "scratch", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}, {"name": "shm", "emptyDir": memory},
            *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names),
        ],
        **(gpu if containers.gpus_of(pool) else {}),
    }  # fmt: skip


def resources(pool: Pool, containers: Containers) -> dict[str, dict[str, Any]]:
    """Say what a pod may spend; a cluster cannot give all GPUs of a node, so all means one."""
    memory = {"memory": containers.memory} if containers.memory and pool.stages else {}
    gpus = {GPU: abs(containers.gpus_of(pool))} if containers.gpus_of(pool) else {}
    least = {"cpu": "2", "memory": "4Gi"} if pool.stages else {"cpu": "100m", "memory": "512Mi"}
    return {"requests": {**least, **memory, **gpus}, "limits": {**memory, **gpus}}

"""Train an encoder on CIFAR-10 without labels in the minutes of a lent GPU, stop, go on, and judge it with labels.

`python benchmarks/gpu/cifar.py train --minutes 8.8`, again until it says {"done": true} (exit code 75: run it again),
then `… judge --out FOLDER`. The first call measures the rate and plans as many epochs as fit into `--total` minutes;
plan, checkpoints (every minute) and the encoder lie in --state, so that a killed call loses a minute. Training is the
stage's own: `produce.train` on the uint8 cache. judge writes cifar.json (linear probe and nearest neighbours on the
test images, labels read here for the first time) and the features, reduced by PCA to 64 float16 numbers, as
cifar10-features.npy: 50,000 training, then 10,000 test rows, 7.7 MB. `--rehearse`: a tiny network on a CPU.
"""

import argparse
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from judging import judge_features, reduce_features
from machine import describe_machine

from pipeline.errors import InterruptedRunError
from pipeline.progress import ProgressWriter
from pipeline.requests import Resources, StageRequest
from pipeline.store import FileStore
from stages.images.cache import ImageCache
from stages.networks.compiling import compile_members, uncompiled
from stages.networks.encoder import load_encoder, save_encoder
from stages.represent.config import RepresentConfig
from stages.represent.produce import build_network, train
from stages.shell import Context
from stages.shell.checkpoints import Checkpoints
from stages.shell.stop import StopFlag

AGAIN = 75
RECIPE = {
    "backbone": "resnet18", "image_size": 32, "batch_size": 512, "optimizer": "sgd", "warmup": 0.02,
    "augmentation": {"crop_scale": 0.08, "colour": 0.5, "grey": 0.2, "flip": True},
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "byol": {
        "learning_rate": 0.12,
        "weight_decay": 5e-4,
    },  # lightly's benchmark: 87.2 % k-NN at 200 epochs, 91.1 at 800
    "moco": {"learning_rate": 0.12, "weight_decay": 5e-4},
    "simclr": {"learning_rate": 0.3, "weight_decay": 1e-6, "simclr": {"hidden_dim": 2048}},
}
TINY = {"backbone": "small_cnn", "width": 8, "batch_size": 32, "epochs": 40, "compile": False}
MARGIN = 0.96  # of the time is planned
PROBE_STEPS = 60


class Clock(ProgressWriter):
    """Progress that remembers when how many samples were behind."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.told: list[tuple[float, int]] = []

    def report(self, *said: Any, **more: Any) -> None:
        """Remember, then report."""
        self.told.append((time.perf_counter(), said[1]))
        super().report(*said, **more)


class Job:
    """One training in a folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.state = options, options.state
        self.device = torch.device(options.device)
        self.state.mkdir(parents=True, exist_ok=True)

    def load(self, part: str) -> tuple[Any, Any]:
        """Join the halves: pixels and labels."""
        found = sorted(self.state.glob(f"cifar10-{part}-?-pixels.npy"))
        if len(found) != 2:
            sys.exit(f"{self.state} holds {len(found)} of the 2 halves of {part}: bring both by arrive.py")
        labels = [np.load(path.with_name(path.name.replace("pixels", "labels"))) for path in found]
        return np.concatenate([np.load(path) for path in found]), np.concatenate(labels)

    def context(self, key: str, stop: StopFlag) -> tuple[Context, Clock]:
        """Make the surroundings of a training; its checkpoints lie in the state folder."""
        request = StageRequest(
            stage="represent", kind="encoders", key=key, config={}, store=str(self.state / "store"),
            work=str(self.state / "work"), resources=Resources(device=self.device.type),
        )  # fmt: skip
        store, clock = FileStore(self.state / "store"), Clock(request.work_folder)
        return Context(request, store, clock, stop, Checkpoints(store, key, self.options.checkpoint_seconds)), clock

    def planned(self, cache: ImageCache) -> tuple[RepresentConfig, Any]:
        """Read the plan, or make it: measure the rate with the network that will be trained, then put that back."""
        path = self.state / "plan.json"
        if path.exists():
            config = RepresentConfig.model_validate(json.loads(path.read_text())["config"])
            return config, self.network(config, cache)
        fixed = TINY if self.options.rehearse else {"epochs": self.options.epochs or 1, "compile": True}
        method = self.options.method
        config = RepresentConfig.model_validate({"method": method, **RECIPE, **METHODS[method], **fixed})
        network, rate = self.network(config, cache), 0.0
        if not self.options.epochs:
            network, rate = self.measured(config, network, cache)
            epochs = max(1, int(MARGIN * 60 * self.options.total * rate / len(cache)))
            config = config if self.options.rehearse else config.model_copy(update={"epochs": epochs})
        path.write_text(json.dumps({"config": config.model_dump(mode="json"), "images_per_second": rate}))
        return config, network

    def network(self, config: RepresentConfig, cache: ImageCache) -> Any:
        """Build what is trained."""
        network = build_network(config, cache, None).to(self.device).to(memory_format=torch.channels_last)
        if config.compile and (reason := compile_members(network, self.device)):
            print(reason, flush=True)
        return network

    def measured(self, config: RepresentConfig, network: Any, cache: ImageCache) -> tuple[Any, float]:
        """Train some steps to see how many images a second it is, and forget them."""
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        stop = StopFlag()
        context, clock = self.context("rate", stop)
        told = clock.report

        def report(*said: Any, **more: Any) -> None:
            told(*said, **more)
            if said[1] >= PROBE_STEPS * config.batch_size:
                stop.request(signal.SIGTERM)

        clock.report = report  # type: ignore[method-assign]
        try:
            train(config.model_copy(update={"epochs": 100}), context, network, cache, self.device)
        except InterruptedRunError:
            context.checkpoints.clear()
        clock.close()
        network.load_state_dict(before)
        (first, start), (last, end) = clock.told[1], clock.told[-1]
        return network, (end - start) / (last - first)

    def train(self) -> int:
        """Train until the end or the time is up; return the exit code."""
        started, stop = time.monotonic(), StopFlag()
        signal.signal(signal.SIGTERM, lambda number, _: stop.request(number))
        timer = threading.Timer(60 * self.options.minutes, stop.request, (signal.SIGTERM,))
        timer.daemon = True
        timer.start()
        cache = ImageCache(self.load("train")[0], self.device)
        config, network = self.planned(cache)
        context, clock = self.context("cifar", stop)
        said = {"method": config.method, "epochs": config.epochs}
        try:
            state = train(config, context, network, cache, self.device)
        except InterruptedRunError:
            samples = clock.told[-1][1] if clock.told else 0
            self.note(said | {"done": False, "epochs_done": round(samples / len(cache), 1)}, clock, started)
            return AGAIN
        folder = self.state / "encoder"
        folder.mkdir(exist_ok=True)
        save_encoder(network.result.cpu().to(memory_format=torch.contiguous_format), folder)
        (self.state / "curve.json").write_text(json.dumps(state.curve))
        self.note(
            said | {"done": True, "epochs_done": len(state.curve), "loss": state.curve[-1]["loss"]}, clock, started
        )
        return 0

    def note(self, said: dict[str, Any], clock: Clock, started: float) -> None:
        """Say how far this call came, and keep it: the calls' seconds are what the training cost."""
        clock.close()
        (first, start), (last, end) = clock.told[0], clock.told[-1]
        rate = round((end - start) / max(last - first, 1e-9), 1)
        found = {**said, "images_per_second": rate, "seconds": round(time.monotonic() - started, 1)}
        with (self.state / "calls.jsonl").open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)

    def judge(self) -> int:
        """Judge the encoder with labels, and write features small enough to keep."""
        folder = self.state / "encoder"
        if not (folder / "encoder.json").exists():
            sys.exit(f"{self.state} holds no encoder yet: run train until it says done")
        encoder = load_encoder(folder / "encoder.json", folder / "encoder.safetensors").to(self.device)
        parts = {}
        with torch.inference_mode(), uncompiled():
            for part in ("train", "test"):
                pixels, labels = self.load(part)
                cache = ImageCache(pixels, self.device)
                batches = [cache.batch(rows) for rows in torch.split(torch.arange(len(cache)), 1000)]
                rows = [torch.stack([encoder(b), encoder(b.flip(3))]) for b in batches]
                parts[part] = (torch.cat(rows, dim=1).float(), torch.from_numpy(labels).to(self.device))
        judged = judge_features(parts["train"], parts["test"])
        reduced = reduce_features(parts["train"][0].mean(dim=0), parts["test"][0].mean(dim=0), self.options.numbers)
        out = self.options.out
        out.mkdir(parents=True, exist_ok=True)
        np.save(out / "cifar10-features.npy", reduced.cpu().numpy().astype(np.float16), allow_pickle=False)
        calls = [json.loads(line) for line in (self.state / "calls.jsonl").read_text().splitlines()]
        plan = json.loads((self.state / "plan.json").read_text())
        curve = json.loads((self.state / "curve.json").read_text())
        record = {**describe_machine(self.device, torch.get_num_threads()), **judged, "calls": calls, **plan}
        record |= {"minutes": round(sum(call["seconds"] for call in calls) / 60, 2), "curve": curve}
        (out / "cifar.json").write_text(json.dumps(record, indent=1) + "\n")
        print(json.dumps({**judged, "minutes": record["minutes"]}))
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["train", "judge"])
    parser.add_argument("--state", type=Path, default=Path("/tmp/puriflow-gpu"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--method", choices=list(METHODS), default="byol")
    parser.add_argument("--minutes", type=float, default=8.8, help="of this call")
    parser.add_argument(
        "--total", type=float, default=14.5, help="minutes of training in all that epochs are planned for"
    )
    parser.add_argument("--epochs", type=int, default=0, help="instead of as many as fit")
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0)
    parser.add_argument("--numbers", type=int, default=64, help="that PCA leaves of a row of features")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    sys.exit(Job(options).train() if options.step == "train" else Job(options).judge())


if __name__ == "__main__":
    main()

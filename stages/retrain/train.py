"""Train one learner on each kind of labels, side by side on the same batches, and keep the best epoch of each."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from stages.networks.compiling import compile_members, uncompiled
from stages.networks.devices import mixed_precision
from stages.networks.encoder import Encoder
from stages.networks.sharing import share_network
from stages.retrain.config import LOOKING_AHEAD, RetrainConfig
from stages.retrain.core import Lessons, Yardstick
from stages.retrain.learner import Batch, Learner, Setting, Survey, build_learner
from stages.retrain.losses import cross_entropies
from stages.retrain.material import Material
from stages.retrain.predict import CHUNK, predict
from stages.retrain.sharing import hear_main, refuse_small_parts, tell_rows
from stages.shell import Context
from stages.training.loop import Loop, Watch
from stages.training.optimisers import build_optimiser
from stages.training.schedule import Plan, mixed_seed
from stages.training.state import TrainingState

WARMUP = 0.05
INSIDE_A_STEP = 3  # purpose of a seed, beside those of the schedule and of first weights

Show = Callable[[Tensor, Iterator[Tensor], torch.Generator, tuple[int, float]], dict[str, Batch]]


class Rivals(nn.Module):
    """Learners that start alike and learn from different labels; where validation rows choose, their best epochs."""

    unheeded = ""  # why they are not compiled, where that was wanted

    def __init__(self, learners: Mapping[str, Learner], chosen: bool) -> None:
        super().__init__()
        self.live = nn.ModuleDict(learners)
        results = {name: learner.result for name, learner in learners.items()}
        self.kept = nn.ModuleDict(copy.deepcopy(results) if chosen else {})
        self.kept.requires_grad_(requires_grad=False)

    def learners(self) -> dict[str, Learner]:
        """List the learners by the labels they learn from."""
        return {name: learner for name, learner in self.live.items() if isinstance(learner, Learner)}

    def forward(self, batches: Mapping[str, Batch]) -> Tensor:
        """Add up the losses; rivals share inputs and random choices, but no weights."""
        return torch.stack([self.live[name](batch) for name, batch in batches.items()]).sum()

    def amend_gradients(self) -> None:
        """Let every learner change its gradients."""
        for learner in self.learners().values():
            learner.amend_gradients()

    def rest(self, resting: bool) -> None:
        """Let the image networks rest while their heads learn, or wake them."""
        for part in self.live.modules():
            if isinstance(part, Encoder) and part.resting != resting:
                part.rest(resting)
                part.train(self.training)

    def shipped(self, name: str) -> nn.Module:
        """Return the network to ship."""
        return self.kept[name] if name in self.kept else self.learners()[name].result

    def keep(self, name: str) -> None:
        """Remember a network as it is now."""
        self.kept[name].load_state_dict(self.learners()[name].result.state_dict())


@dataclass(frozen=True)
class Task:
    """What a training is given: inputs, lessons by kind of labels over the usable rows, and validation rows."""

    material: Material
    lessons: Mapping[str, Lessons]
    validation: Yardstick  # its rows are numbered among the usable ones
    trusted: tuple[Tensor, Tensor]  # [v] trusted rows that teach, numbered alike, and their labels
    classes: int
    device: torch.device

    def train_rows(self) -> Tensor:
        """List the rows that teach anything."""
        counts = torch.stack([lessons.weights for lessons in self.lessons.values()])
        return (counts > 0).any(dim=0).nonzero().flatten()


def train(task: Task, config: RetrainConfig, context: Context) -> tuple[Rivals, TrainingState]:
    """Train to the end, or stop with a checkpoint."""
    chosen, ranks = len(task.validation.rows) > 0, context.ranks
    rivals = build_rivals(task, config, chosen).to(task.device).to(memory_format=torch.channels_last)
    if config.compile:
        rivals.unheeded = compile_rivals(rivals, config, task.device)
    scales = rates_by_layer(rivals, config.layer_decay)
    optimiser = build_optimiser(rivals, config.optimizer, config.learning_rate, config.weight_decay, scales)
    state = TrainingState(rivals, optimiser)
    plan = Plan(
        len(task.train_rows()), config.batch_size, config.epochs, config.seed, WARMUP,
        keep_rest=ranks.world == 1, share=ranks.rank, shares=ranks.world,
    )  # fmt: skip
    refuse_small_parts(plan)
    shared = share_network(rivals, ranks, task.device, own_norms=(), freezes=config.head_first > 0)
    show = batches_of(task, config, rivals)

    def teach(chosen: Tensor, generator: torch.Generator) -> Tensor:
        rivals.rest(state.step < config.head_first * plan.steps_per_epoch)
        if ranks.world > 1 and state.step % plan.steps_per_epoch == 0:
            hear_main(rivals.learners().values())
        shown = show(chosen, plan.rows_after(state.step), generator, (state.step, state.step / plan.steps))
        with mixed_precision(task.device, config.precision == "mixed"):
            loss: Tensor = shared(shown)
        if ranks.world > 1:
            tell_rows(rivals.learners().values(), next(iter(shown.values())).rows)
        return loss

    def after_epoch(_epoch: int) -> dict[str, float]:
        with uncompiled():
            look_around(rivals, task)
            return choose(rivals, task, state) if chosen else {}

    watch = Watch(after_epoch, before_step=rivals.amend_gradients)
    Loop(context, plan, config.learning_rate, task.device).run(state, teach, watch)
    rivals.rest(resting=False)
    return rivals, state


def compile_rivals(rivals: Rivals, config: RetrainConfig, device: torch.device) -> str:
    """Let the networks be compiled when they are first called; return why not, or nothing."""
    if config.method in LOOKING_AHEAD:
        return f"retrain.compile has no effect with {config.method}, whose networks are functions of their weights."
    said = [compile_members(learner.networks, device, "retrain") for learner in rivals.learners().values()]
    return said[0]


def rates_by_layer(rivals: Rivals, decay: float) -> dict[Tensor, float]:
    """Scale the rate of an image network's weights by how far below the head their layer is."""
    if decay == 1:
        return {}
    encoders = [part for part in rivals.live.modules() if isinstance(part, Encoder)]
    steps = [(layer, depth) for e in encoders for depth, layer in enumerate(reversed(e.layers()), start=1)]
    return {weight: decay**depth for layer, depth in steps for weight in layer.parameters()}


def batches_of(task: Task, config: RetrainConfig, rivals: Rivals) -> Show:
    """Prepare what makes the batches of a step: one for each learner, on the same inputs."""
    rows, batches, device = task.train_rows(), task.material.batches, task.device
    lessons = {name: part.on(device) for name, part in task.lessons.items()}
    views = max(learner.views for learner in rivals.learners().values())
    judges = max(learner.trusted_rows for learner in rivals.learners().values())

    def show(
        chosen: Tensor, later: Iterator[Tensor], generator: torch.Generator, when: tuple[int, float]
    ) -> dict[str, Batch]:
        taught = rows[chosen]
        plain = batches.plain(taught, (rows[some] for some in later))
        seen = tuple(batches.varied(plain, generator) for _ in range(views))
        taught = taught.to(device, non_blocking=True)
        seed = mixed_seed(config.seed, INSIDE_A_STEP, when[0])
        trusted = draw_trusted(task, judges, seed)
        return {
            name: Batch(taught, seen, part.targets(taught, task.classes), part.weights[taught], seed, when[1], trusted)
            for name, part in lessons.items()
        }

    return show


def draw_trusted(task: Task, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Take some trusted rows, all where there are fewer: inputs and labels."""
    rows, labels = task.trusted
    if count == 0:
        return torch.empty(0), torch.empty(0)
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count].sort().values
    return task.material.batches.plain(rows[drawn]), labels[drawn].to(task.device)


def build_rivals(task: Task, config: RetrainConfig, chosen: bool) -> Rivals:
    """Build a learner for each kind of labels."""
    rows = len(task.material.usable)
    settings = {
        name: Setting(task.material.build, rows, task.classes, lessons.noise_rate)
        for name, lessons in task.lessons.items()
    }
    return Rivals({name: build_learner(setting, config) for name, setting in settings.items()}, chosen)


def look_around(rivals: Rivals, task: Task) -> None:
    """Let every learner that wants to look at all rows between two epochs."""
    for name, learner in rivals.learners().items():
        lessons = task.lessons[name]
        rows = (lessons.weights > 0).nonzero().flatten()
        learner.after_epoch(Survey(rows, partial(row_losses, task=task, lessons=lessons, rows=rows)))


def row_losses(network: nn.Module, task: Task, lessons: Lessons, rows: Tensor) -> Tensor:
    """Measure a network's cross-entropy on some rows as they are, [m] on the CPU."""
    network.eval()
    losses = []
    with torch.inference_mode():
        for part in torch.split(rows, CHUNK):
            scores = network(task.material.batches.plain(part)).float().cpu()
            losses.append(cross_entropies(scores, lessons.targets(part, task.classes)))
    return torch.cat(losses)


def choose(rivals: Rivals, task: Task, state: TrainingState) -> dict[str, float]:
    """Score every rival on the validation rows, and keep those that were never better."""
    noted = {}
    rows = torch.from_numpy(task.validation.rows)
    for name, learner in rivals.learners().items():
        predicted = predict(learner.result, task.material.batches, rows, task.classes).label
        accuracy = float((predicted == task.validation.labels).mean())
        if accuracy > max((entry[noted_as(name)] for entry in state.curve), default=-1.0):
            rivals.keep(name)
        noted[noted_as(name)] = accuracy
    return noted


def noted_as(name: str) -> str:
    """Name the validation accuracy of one rival in the curve."""
    return f"validation_{name}"

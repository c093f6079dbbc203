"""Train every method for some steps, in as many processes as torchrun started: losses, weights and first gradients."""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from stages.images.augment import augment
from stages.images.augmentation import Augmentation
from stages.networks.encoder import Encoder, EncoderDescription
from stages.networks.sharing import share_network
from stages.networks.weights import save_tensors
from stages.represent.config import RepresentConfig
from stages.represent.learner import Learner, build_learner
from stages.shell.ranks import Ranks, ranks_from_environment
from stages.training.schedule import Plan

STEPS = 4
SMALL = {
    "simclr": {"hidden_dim": 32, "projection_dim": 16},
    "moco": {"hidden_dim": 32, "projection_dim": 16, "queue": 48, "momentum": 0.9, "splits": 2},
    "simsiam": {"hidden_dim": 32, "projection_dim": 32, "predictor_dim": 8},
    "byol": {"hidden_dim": 32, "projection_dim": 16, "momentum": 0.9},
    "barlow_twins": {"hidden_dim": 32, "projection_dim": 32},
    "vicreg": {"hidden_dim": 32, "projection_dim": 32},
    "dino": {"hidden_dim": 32, "bottleneck_dim": 16, "groups": 64, "momentum": 0.9, "freeze_groups": 0.5,
             "local_views": 1, "local_scale": 0.8},
}  # fmt: skip
HOW = Augmentation(crop_scale=0.6, flip=True, shift=0.1, colour=1.0, grey=0.5, blur=0.5)
DESCRIPTION = EncoderDescription(backbone="small_cnn", width=8, image_size=8, mean=(0.4,) * 3, std=(0.3,) * 3)


def build(method: str) -> Learner:
    config = RepresentConfig.model_validate({"method": method, method: SMALL[method], "width": 8, "image_size": 8})
    torch.manual_seed(0)
    learner = build_learner(Encoder(DESCRIPTION), config).double()
    learner.get_submodule("loss").float()  # the methods turn projections to float32
    return learner


def gradients(learner: Learner) -> dict[str, Tensor]:
    return {f"gradient.{n}": p.grad.clone() for n, p in learner.named_parameters() if p.grad is not None}


def steps_of(method: str, ranks: Ranks) -> tuple[list[float], dict[str, Tensor]]:
    """Take some steps of plain gradient descent in float64; return the losses, first gradients and last weights."""
    learner, plan = build(method), Plan(24, 12, 2, 0, keep_rest=False, share=ranks.rank, shares=ranks.world)
    pictures = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cpu = torch.device("cpu")
    shared = share_network(learner, ranks, cpu, own_norms=learner.own_norms, freezes=learner.freezes)
    losses, first = [], {}
    for step in range(STEPS):
        images = pictures[plan.batch_rows(plan.epoch_order(step // 2), step)]
        generator = plan.step_generator(step, cpu)
        views = augment(torch.cat([images, images]).float(), HOW, generator).double()
        further = [v.double() for v in learner.further_views(images.float(), HOW, generator)]
        learner.zero_grad(set_to_none=True)
        loss = shared(views, *further, done=step / STEPS)
        loss.backward()
        first = first or gradients(learner)
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for p in learner.parameters():
                if p.grad is not None:
                    p -= 0.05 * p.grad
    return ranks.mean(losses), first | {f"weight.{n}": t for n, t in learner.state_dict().items()}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    ranks = ranks_from_environment()
    ranks.join("cpu")
    for method in SMALL:
        losses, tensors = steps_of(method, ranks)
        save_tensors(tensors, folder / f"{method}-{ranks.rank}-of-{ranks.world}.safetensors")
        if ranks.main:
            (folder / f"{method}-of-{ranks.world}.json").write_text(json.dumps(losses))
    ranks.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What each method of represent has for itself: the knobs alone, without torch."""

from pydantic import Field

from pipeline.config import MethodOptions


class SimclrOptions(MethodOptions):
    """SimCLR's own knobs; the defaults are the paper's for CIFAR-10."""

    temperature: float = Field(0.5, gt=0, le=10, title="Temperature", description="Scale of the similarities")
    hidden_dim: int = Field(512, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(128, ge=8, le=4096, title="Projection", description="Numbers that the loss compares")


class MocoOptions(MethodOptions):
    """MoCo's own knobs; the defaults are the authors' for CIFAR-10 (ImageNet: temperature 0.2, momentum 0.999)."""

    temperature: float = Field(0.1, gt=0, le=10, title="Temperature", description="Scale of the similarities")
    hidden_dim: int = Field(512, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(128, ge=8, le=4096, title="Projection", description="Numbers that the loss compares")
    queue: int = Field(4096, ge=2, le=1_048_576, title="Queue", description="Earlier images to tell a view from")
    momentum: float = Field(0.99, ge=0, lt=1, title="Momentum", description="Share of the teacher that a step keeps")
    symmetric: bool = Field(True, title="Both ways", description="Let both views ask; no halves the work of a step")
    splits: int = Field(
        8, ge=1, le=256, title="Parts", description="Parts in which the teacher sees a batch, for its batch norm"
    )


class SimsiamOptions(MethodOptions):
    """SimSiam's own knobs; the defaults are the paper's for CIFAR-10 (ImageNet: 3 layers)."""

    layers: int = Field(2, ge=2, le=5, title="Layers", description="Layers of the projection head")
    hidden_dim: int = Field(2048, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(2048, ge=8, le=8192, title="Projection", description="Numbers that the loss compares")
    predictor_dim: int = Field(
        512, ge=4, le=8192, title="Predictor", description="Width of the predictor: a bottleneck"
    )


class ByolOptions(MethodOptions):
    """BYOL's own knobs; the defaults suit small images (the paper on ImageNet: hidden_dim 4096, momentum 0.996)."""

    hidden_dim: int = Field(1024, ge=8, le=8192, title="Hidden width", description="Width of head and predictor")
    projection_dim: int = Field(256, ge=8, le=4096, title="Projection", description="Numbers that the loss compares")
    momentum: float = Field(
        0.99, ge=0, lt=1, title="Momentum", description="Share of the teacher that the first step keeps; it rises to 1"
    )


class BarlowTwinsOptions(MethodOptions):
    """Barlow Twins' own knobs; a head for small images (the paper on ImageNet: 3 layers, 8192 numbers)."""

    layers: int = Field(2, ge=2, le=5, title="Layers", description="Layers of the projection head")
    hidden_dim: int = Field(2048, ge=8, le=16_384, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(2048, ge=8, le=16_384, title="Projection", description="Numbers that the loss compares")
    redundancy: float = Field(
        5e-3, gt=0, le=10, title="Redundancy", description="Weight of what different numbers have in common"
    )


class VicregOptions(MethodOptions):
    """VICReg's own knobs; the paper's weights, a head for small images (the paper on ImageNet: 8192 numbers)."""

    layers: int = Field(3, ge=2, le=5, title="Layers", description="Layers of the projection head")
    hidden_dim: int = Field(2048, ge=8, le=16_384, title="Hidden width", description="Width of the projection head")
    projection_dim: int = Field(2048, ge=8, le=16_384, title="Projection", description="Numbers that the loss compares")
    invariance: float = Field(25.0, ge=0, le=1e4, title="Invariance", description="Weight of the views' agreement")
    variance: float = Field(25.0, ge=0, le=1e4, title="Variance", description="Weight of keeping every number alive")
    covariance: float = Field(1.0, ge=0, le=1e4, title="Covariance", description="Weight of keeping numbers different")


class DinoOptions(MethodOptions):
    """DINO's own knobs; small images (the paper on ImageNet: 65,536 groups, 8 local views, momentum 0.996)."""

    hidden_dim: int = Field(2048, ge=8, le=8192, title="Hidden width", description="Width of the projection head")
    bottleneck_dim: int = Field(256, ge=4, le=4096, title="Bottleneck", description="Numbers before the groups")
    groups: int = Field(2048, ge=8, le=262_144, title="Groups", description="Soft groups that views are sorted into")
    student_temperature: float = Field(0.1, gt=0, le=10, title="Student's temperature", description="Its softness")
    teacher_temperature: float = Field(
        0.04, gt=0, le=10, title="Teacher's temperature", description="Its softness: below the student's"
    )
    centre_momentum: float = Field(
        0.9, ge=0, lt=1, title="Centre's momentum", description="Share of the centre that a step keeps"
    )
    momentum: float = Field(
        0.99, ge=0, lt=1, title="Momentum", description="Share of the teacher that the first step keeps; it rises to 1"
    )
    freeze_groups: float = Field(
        0.01, ge=0, le=1, title="Frozen groups", description="Share of the training in which the groups stay as drawn"
    )
    local_views: int = Field(
        0, ge=0, le=16, title="Local views", description="Small pieces of each image that the student sees as well"
    )
    local_scale: float = Field(
        0.4, ge=0.05, le=1, title="Local size", description="Largest share of the area that a local view shows"
    )


class PatchesOptions(MethodOptions):
    """What an encoder of patches is made of; learning rates, epochs, batches and backbones mean nothing to it."""

    atoms: int = Field(512, ge=8, le=8192, title="Atoms", description="Patches that all patches are compared with")
    patch_size: int = Field(
        6, ge=2, le=32, title="Patch", description="Pixels per side of a patch; half of image_size at most"
    )
    stride: int = Field(
        1, ge=1, le=8, title="Stride", description="Pixels between patches at 32 pixels a side; 2 is four times faster"
    )
    grid: int = Field(3, ge=1, le=4, title="Grid", description="Cells per side in which the answers are averaged")
    dim: int = Field(512, ge=1, le=4096, title="Features", description="Numbers that stand for an image, at most")
    images: int = Field(16_000, ge=2, le=1_000_000, title="Images", description="Images to fit on, at most")
    views: int = Field(2, ge=2, le=32, title="Views", description="Augmented views of each of them")

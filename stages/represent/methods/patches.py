"""Whitened patches and the directions in which images differ but views of one image agree; no labels, no gradients.

A patch p is contrast-normalised and whitened, z = W ((p − p̄) / √(var p + c²) − m) with W = U (Λ + ε λ̄)^−½ Uᵀ; atoms are
patches z_k / |z_k|, and the code of an image is the root of the means of max(0, z_k·z − τ_k) over each cell of a grid,
where τ_k lets a small share of all patches pass. With B the covariance of codes between images and S the one between
views of one image, the features are Vᵀ(code − mean), B v = λ (S + ρ s̄ I) v, for the largest λ.
Coates & Ng, "The importance of encoding versus training with sparse coding and vector quantization", 2011; the
directions are Fisher's with each image as its own class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stages.networks.patches import FLAT, PatchNetwork

WHITENING_FLOOR = 0.1  # ε, of the mean eigenvalue: directions with less are noise of the camera and of JPEG
PASSING = 0.25  # share of patches that an atom answers to
RIDGE = 0.3  # ρ, of the mean variance between views
OVERSAMPLING = 1.25  # directions that are iterated beside those that are kept
ITERATIONS = 15


@dataclass(frozen=True)
class Whitening:
    """Bring contrast-normalised patches [n, d] to mean 0 and about unit covariance."""

    mean: Tensor  # [d]
    matrix: Tensor  # [d, d], symmetric

    def apply(self, patches: Tensor) -> Tensor:
        """Centre and whiten."""
        return (patches - self.mean) @ self.matrix


def draw_patches(images: Tensor, size: int, number: int, generator: torch.Generator) -> Tensor:
    """Cut patches at random places out of images [n, 3, h, w]: [number, 3 × size²]."""
    device, (count, channels, height, width) = images.device, images.shape

    def draw(below: int) -> Tensor:
        return torch.randint(below, (number,), generator=generator).to(device).view(-1, 1, 1, 1)

    image, row, column = draw(count), draw(height - size + 1), draw(width - size + 1)
    channel, step = torch.arange(channels, device=device).view(1, -1, 1, 1), torch.arange(size, device=device)
    return images[image, channel, row + step.view(1, 1, -1, 1), column + step].flatten(1)


def normalise_contrast(patches: Tensor) -> Tensor:
    """Subtract each patch's mean and divide by its standard deviation, which counts as FLAT at least."""
    centred = patches - patches.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + FLAT**2).sqrt()


def fit_whitening(patches: Tensor, floor: float = WHITENING_FLOOR) -> Whitening:
    """Measure what whitens patches [n, d]; eigenvalues are raised by a share of their mean."""
    mean = patches.double().mean(dim=0)
    centred = patches.double() - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(patches))
    raised = values.clamp(min=0) + max(floor * float(values.mean()), 1e-12)
    return Whitening(mean.float(), ((vectors * raised.rsqrt()) @ vectors.T).float())


def choose_atoms(whitened: Tensor, number: int) -> Tensor:
    """Take the first patches [n, d] that are not flat, at unit length, from the beginning again where they run out."""
    lengths = whitened.norm(dim=1)
    lively = whitened[lengths > 0.1 * lengths.mean()]
    chosen = lively if len(lively) else whitened
    return functional.normalize(chosen[torch.arange(number, device=chosen.device) % len(chosen)])


def thresholds(atoms: Tensor, whitened: Tensor, passing: float = PASSING) -> Tensor:
    """Find for each atom [k, d] the answer that only a share of the patches [n, d] exceeds: [k]."""
    rank = max(1, round(passing * len(whitened)))
    return torch.cat([(some @ whitened.T).topk(rank).values[:, -1] for some in torch.split(atoms, 256)])


def set_filters(network: PatchNetwork, images: Tensor, patches: int, generator: torch.Generator) -> None:
    """Make a network's convolution compare whitened patches with atoms drawn from images [n, 3, h, w]."""
    shape = network.shape
    drawn = normalise_contrast(draw_patches(images, shape.patch_size, patches, generator))
    whitening = fit_whitening(drawn)
    whitened = whitening.apply(drawn)
    atoms = choose_atoms(whitened, shape.atoms)
    # z_k·W(x/s − m) = (W z_k − mean)·x/s − z_k·Wm: the mean of the patch is taken off by the filter
    filters = atoms @ whitening.matrix
    bias = -(filters @ whitening.mean) - thresholds(atoms, whitened[-len(whitened) // 2 :])
    filters = filters - filters.mean(dim=1, keepdim=True)
    network.filters.weight.data.copy_(filters.view_as(network.filters.weight))
    if network.filters.bias is not None:
        network.filters.bias.data.copy_(bias)


class Moments:
    """Sums over images of what their views' codes tell; memory does not grow with the images."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.images, self.views = 0, 0
        self.origin = torch.zeros(width, device=device)  # codes are summed as they differ from it: less rounding
        self.total = torch.zeros(width, device=device)
        self.means = torch.zeros(width, width, device=device)
        self.rests = torch.zeros(width, width, device=device)

    def add(self, codes: Tensor) -> None:
        """Add the codes of some images' views, [n, views, width]."""
        if self.images == 0:
            self.origin = codes.mean(dim=(0, 1))
        means = codes.mean(dim=1)
        if codes.shape[1] == 2:  # the two rests differ in their sign alone
            rests = (codes[:, 0] - codes[:, 1]) / 2**0.5
        else:
            rests = (codes - means.unsqueeze(1)).flatten(0, 1)
        means = means - self.origin
        self.images, self.views = self.images + len(codes), codes.shape[1]
        self.total += means.sum(dim=0)
        self.means.addmm_(means.T, means)
        self.rests.addmm_(rests.T, rests)

    @property
    def mean(self) -> Tensor:
        """Return the mean code."""
        return self.origin + self.total / max(self.images, 1)

    def covariances(self) -> tuple[Tensor, Tensor]:
        """Return the covariance between images, freed of the share that comes from the views, and between views."""
        within = self.rests / max(self.images * (self.views - 1), 1)
        shift = self.total / max(self.images, 1)
        between = self.means / max(self.images, 1) - torch.outer(shift, shift) - within / self.views
        return between, within


def invariant_directions(between: Tensor, within: Tensor, number: int, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Solve B v = λ (S + ρ s̄ I) v for the largest λ: [number], and v in columns with vᵀ(S + ρ s̄ I) v = 1."""
    level = ridge * float(within.diagonal().mean()) + 1e-4 * float(between.diagonal().clamp(min=0).mean()) + 1e-12
    factor = torch.linalg.cholesky(within + level * torch.eye(len(within), device=within.device))
    half = torch.linalg.solve_triangular(factor, between, upper=False)
    whole = torch.linalg.solve_triangular(factor, half.T, upper=False)
    values, vectors = leading_eigenpairs((whole + whole.T) / 2, number)
    return values, torch.linalg.solve_triangular(factor.T, vectors, upper=True)


def leading_eigenpairs(matrix: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Find the largest eigenvalues of a symmetric matrix and their vectors; by subspace iteration if that is less."""
    tried = round(number * OVERSAMPLING)
    if 3 * tried >= len(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return values.flip(0)[:number], vectors.flip(1)[:, :number]
    generator = torch.Generator().manual_seed(len(matrix))
    basis = torch.randn(len(matrix), tried, generator=generator).to(matrix)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(matrix @ basis).Q
    values, vectors = torch.linalg.eigh(basis.T @ matrix @ basis)
    return values.flip(0)[:number], (basis @ vectors).flip(1)[:, :number]


def set_projection(network: PatchNetwork, moments: Moments, ridge: float = RIDGE) -> Tensor:
    """Make a network's linear map show the directions that matter, each weighted by √(λ / (1 + λ)); return λ."""
    values, vectors = invariant_directions(*moments.covariances(), network.shape.dim, ridge)
    sure = values.clamp(min=0)
    weights = (vectors * (sure / (1 + sure)).sqrt()).T
    network.projection.weight.data.copy_(weights)
    network.projection.bias.data.copy_(-(weights @ moments.mean))
    return values

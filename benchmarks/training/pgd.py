"""Projected gradient ascent in L-infinity (Madry et al. 2018), for training and for a quick estimate of distances."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Objective = Callable[[Tensor], Tensor]
"""From logits (n, classes) to one number per row (n,), which the ascent raises."""


def cross_entropy(labels: Tensor) -> Objective:
    """Return the cross-entropy of the labels (n,), the objective of adversarial training."""
    return lambda logits: nn.functional.cross_entropy(logits, labels, reduction="none")


def untargeted(labels: Tensor) -> Objective:
    """Return max_{j != y} z_j - z_y (Carlini and Wagner 2017): positive once another class wins; never saturates."""
    return lambda logits: -_lead(logits, labels)


def targeted(targets: Tensor) -> Objective:
    """Return z_t - max_{j != t} z_j: positive once the target class t wins."""
    return lambda logits: _lead(logits, targets)


def pgd(
    model: nn.Module, images: Tensor, radius: Tensor, objective: Objective, steps: int, step: float = 2.5
) -> Tensor:
    """Return x_steps of x_{k+1} = clip(x_k + a sign grad objective(x_k)), a = step * radius / steps.

    The clip is onto [0, 1] and onto the L-infinity ball of the given radius about the image; x_0 is uniform in that
    ball. `images` is (n, d); `radius` is (n, 1) or a scalar, in pixels of [0, 1].
    """
    lower, upper = (images - radius).clamp(min=0), (images + radius).clamp(max=1)
    point = images + radius * (2 * torch.rand_like(images) - 1)
    point = point.clamp(min=lower, max=upper)
    for _ in range(steps):
        point.requires_grad_(True)
        (gradient,) = torch.autograd.grad(objective(model(point)).sum(), point)
        point = (point.detach() + step * radius / steps * gradient.sign()).clamp(min=lower, max=upper)
    return point


def distances(
    model: nn.Module, images: Tensor, objective: Objective, steps: int, restarts: int, halvings: int
) -> Tensor:
    """Return upper bounds (n,) of the minimal L-infinity distances to a positive objective, by bisection over `pgd`.

    A radius at which no restart succeeds becomes the lower end, the distance of the nearest success the upper end;
    the upper end is returned, 1 where nothing was found. The objective must be negative at the images themselves.
    """
    lower = torch.zeros(len(images))
    upper = torch.ones(len(images))
    for _ in range(halvings):
        radius = (lower + upper) / 2
        found = torch.full_like(upper, torch.inf)
        for _ in range(restarts):
            point = pgd(model, images, radius[:, None], objective, steps)
            with torch.no_grad():
                crossed = objective(model(point)) > 0
            reached = (point - images).abs().amax(dim=1)
            found = torch.where(crossed, torch.minimum(found, reached), found)
        lower = torch.where(found.isinf(), radius, lower)
        upper = torch.minimum(upper, found)
    return upper


def _lead(logits: Tensor, classes: Tensor) -> Tensor:
    own = logits.gather(1, classes[:, None])
    rest = logits.scatter(1, classes[:, None], -torch.inf)
    return own[:, 0] - rest.amax(dim=1)

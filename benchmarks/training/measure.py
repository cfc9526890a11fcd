"""How far a net's test images are from their nearest adversarial examples, estimated from above by PGD."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.training.pgd import distances, pgd, targeted, untargeted

STEPS = 100
RESTARTS = 10
HALVINGS = 14  # 2**-14 is below the four digits that the record keeps
UNTARGETED = 100  # images
TARGETED = 10  # images, each towards its nine other classes: the 90 pairs of Carlini et al. 2018
RADIUS = 0.1
SEED = 0


def measure(model: nn.Module, images: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, str | int | float]:
    """Return the record's fields: mean L-infinity distances, untargeted and targeted, and robust accuracy at 0.1.

    Distances are in pixels of [0, 1] and bound the minimal ones from above; they are of the first test images that the
    net classifies correctly. The robust accuracy counts all test images that survive one run of PGD.
    """
    torch.manual_seed(SEED)
    x, y = torch.from_numpy(images.copy()), torch.from_numpy(labels.copy())
    with torch.no_grad():
        right = model(x).argmax(dim=1) == y
    near, few = right.nonzero()[:UNTARGETED, 0], right.nonzero()[:TARGETED, 0]
    found = distances(model, x[near], untargeted(y[near]), STEPS, RESTARTS, HALVINGS)
    pairs = [(int(row), other) for row in few for other in range(10) if other != int(y[row])]
    rows, others = torch.tensor(pairs).T
    found_targeted = distances(model, x[rows], targeted(others), STEPS, RESTARTS, HALVINGS)
    attacked = pgd(model, x, torch.tensor(RADIUS), untargeted(y), STEPS)
    with torch.no_grad():
        survives = right & (model(attacked).argmax(dim=1) == y)
    return {
        "linf_method": f"PGD on the logit margin, {STEPS} steps, {RESTARTS} restarts, bisection of the radius",
        "linf_images": f"the first {len(near)} correctly classified test images",
        "linf_mean": round(float(found.mean()), 4),
        "linf_median": round(float(found.median()), 4),
        "linf_targeted_images": f"the first {len(few)} correctly classified test images, towards 9 targets each",
        "linf_targeted_mean": round(float(found_targeted.mean()), 4),
        "pgd_radius": RADIUS,
        "pgd_correct": int(survives.sum()),
    }

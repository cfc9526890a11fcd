"""Reference implementations of attacks: foolbox, ART, torchattacks and AdverTorch on the PyTorch twin of a model.

A reference is a function (peer, images, labels) → points of the images' shape (count, n); a point that is no success is
recognised by whoever judges it. Attacks within a radius are run over a grid of radii, and the nearest success counts.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.attacks.attack_throughput import layers
from encoders.errors import InputError
from encoders.network.graph import Graph, outputs
from verifier.attacks.base.problem import LENGTH, Metric
from verifier.attacks.square import image_shape

Points = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

PACKAGES = ("torch", "foolbox", "adversarial-robustness-toolbox", "torchattacks", "advertorch")
TIE = 1e-5  # attacks end on the boundary itself, where float32 logits of about 10 are wrong by some 1e-6
COARSE, FINE = 1.2, 1.01
"""Ratios of neighbouring radii: of the first grid, then of the finer one below each image's first success."""

RANGES: Mapping[Metric, tuple[float, float]] = {
    Metric.LINF: (0.004, 1.0),
    Metric.L1: (0.2, 300.0),
    Metric.L2: (0.05, 20.0),
}
"""Where the first grid begins and ends, for pixels in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Peer:
    """A graph of dense layers and its twin in PyTorch; `shape` is that of an image: (channels, height, width)."""

    graph: Graph
    torch: Any
    twin: Any
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, graph: Graph) -> Peer:
        """The twin reads the weights of the graph's dense layers."""
        torch = importlib.import_module("torch")
        parts: list[Any] = [torch.nn.Flatten()]
        for place, (weight, bias) in enumerate(layers(graph)):
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
            parts += [torch.nn.ReLU(), linear] if place else [linear]
        twin = torch.nn.Sequential(*parts).eval()
        return cls(graph, torch, twin, image_shape(graph.input_size))

    def images(self, points: Points) -> Any:
        """(count, n) as a tensor of images."""
        return self.torch.from_numpy(points.reshape(-1, *self.shape).copy())

    def labels(self, labels: Labels) -> Any:
        return self.torch.from_numpy(labels.copy())

    def adversarial(self, points: Points, labels: Labels, target: Labels | None = None) -> npt.NDArray[np.bool_]:
        """Does another class reach the label's logit, or does the target's reach all? In float64, to within TIE."""
        logits = outputs(self.graph, points)
        own = np.eye(logits.shape[1], dtype=bool)[labels if target is None else target]
        rival, value = np.where(own, -np.inf, logits).max(axis=1), logits[own]
        gap = rival - value if target is None else value - rival
        return np.asarray(gap >= -TIE)


Reference = Callable[[Peer, Points, Labels], Points]
Within = Callable[[Peer, Points, Labels, float], Points]


def flat(images: Any) -> Points:
    """A tensor of images as an array (count, n)."""
    array = images.detach().cpu().numpy()
    return np.asarray(array.reshape(len(array), -1), dtype=np.float32)


def over_radii(metric: Metric, within: Within, peer: Peer, images: Points, labels: Labels) -> Points:
    """The nearest success of each image over a coarse grid of radii, then over a fine one below it."""
    low, high = RANGES[metric]
    best, length = images.copy(), np.full(len(images), np.inf)
    first = np.full(len(images), np.inf)

    def attempt(places: npt.NDArray[np.intp], radius: float) -> None:
        points = np.clip(within(peer, images[places], labels[places], radius), 0.0, 1.0)
        far = LENGTH[metric]((points - images[places]).astype(np.float64))
        better = peer.adversarial(points, labels[places]) & (far < length[places])
        chosen = places[better]
        best[chosen], length[chosen] = points[better], far[better]
        first[chosen] = np.minimum(first[chosen], radius)

    for radius in np.geomspace(low, high, 1 + int(np.ceil(np.log(high / low) / np.log(COARSE)))).tolist():
        open_ = np.flatnonzero(np.isinf(first))
        if not len(open_):
            break
        attempt(open_, radius)
    for radius in sorted(set(first[np.isfinite(first)].tolist())):
        places = np.flatnonzero(first == radius)
        for smaller in radius * FINE ** -np.arange(1, int(np.log(COARSE) / np.log(FINE)) + 1):
            attempt_at = places[length[places] > smaller]  # what has been found below it need not be sought
            if len(attempt_at):
                attempt(attempt_at, float(smaller))
    return best


def _foolbox_within(
    name: str, options: Mapping[str, Any], peer: Peer, images: Points, labels: Labels, radius: float
) -> Points:
    foolbox = importlib.import_module("foolbox")
    model = foolbox.PyTorchModel(peer.twin, bounds=(0, 1), device="cpu")
    attack = getattr(foolbox.attacks, name)(**options)
    goal = foolbox.criteria.Misclassification(peer.labels(labels))
    return flat(attack(model, peer.images(images), goal, epsilons=radius)[1])


def foolbox_grid(metric: Metric, name: str, **options: Any) -> Reference:
    """A foolbox attack of a fixed radius."""
    return partial(over_radii, metric, partial(_foolbox_within, name, options))


def foolbox_minimum(name: str, **options: Any) -> Reference:
    """A foolbox attack that minimises the distance itself."""

    def run(peer: Peer, images: Points, labels: Labels) -> Points:
        foolbox = importlib.import_module("foolbox")
        model = foolbox.PyTorchModel(peer.twin, bounds=(0, 1), device="cpu")
        goal = foolbox.criteria.Misclassification(peer.labels(labels))
        attack = getattr(foolbox.attacks, name)(**options)
        return flat(attack(model, peer.images(images), goal, epsilons=None)[1])

    return run


def _torchattacks_within(
    make: Callable[[Any, Any, float], Any], peer: Peer, images: Points, labels: Labels, radius: float
) -> Points:
    library = importlib.import_module("torchattacks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flat(make(library, peer.twin, radius)(peer.images(images), peer.labels(labels)))


def torchattacks_grid(metric: Metric, make: Callable[[Any, Any, float], Any]) -> Reference:
    """An attack of torchattacks of a fixed radius."""
    return partial(over_radii, metric, partial(_torchattacks_within, make))


def torchattacks_minimum(make: Callable[[Any, Any, float], Any], radius: float) -> Reference:
    """An attack of torchattacks that minimises the distance; `radius` is where it looks for random starts."""

    def run(peer: Peer, images: Points, labels: Labels) -> Points:
        return _torchattacks_within(make, peer, images, labels, radius)

    return run


def _art_classifier(peer: Peer) -> Any:
    estimators = importlib.import_module("art.estimators.classification")
    classes = peer.graph.output_size
    loss = peer.torch.nn.CrossEntropyLoss()
    return estimators.PyTorchClassifier(peer.twin, loss, peer.shape, classes, clip_values=(0, 1), device_type="cpu")


def art_linf(peer: Peer, images: Points, labels: Labels) -> Points:
    """ART's Carlini–Wagner L∞."""
    evasion = importlib.import_module("art.attacks.evasion")
    attack = evasion.CarliniLInfMethod(_art_classifier(peer), max_iter=50, batch_size=len(images), verbose=False)
    one_hot = np.eye(peer.graph.output_size, dtype=np.float32)[labels]
    return flat(peer.torch.from_numpy(attack.generate(images.reshape(-1, *peer.shape), one_hot)))


def art_jsma(peer: Peer, images: Points, labels: Labels) -> Points:
    """ART's saliency maps, pixels moved upwards by the whole range, towards the class after the label."""
    evasion = importlib.import_module("art.attacks.evasion")
    attack = evasion.SaliencyMapMethod(_art_classifier(peer), theta=1.0, gamma=0.3, verbose=False)
    targets = np.eye(peer.graph.output_size, dtype=np.float32)[(labels + 1) % peer.graph.output_size]
    return flat(peer.torch.from_numpy(attack.generate(images.reshape(-1, *peer.shape), targets)))


def _advertorch(module: str) -> Any:
    """A module of AdverTorch without its packages' own imports, some of which PyTorch 2 no longer has."""
    for package in ("advertorch", "advertorch.attacks"):
        if package not in sys.modules:
            spec = importlib.util.find_spec(package)
            if spec is None or spec.submodule_search_locations is None:
                raise InputError(f"{package} is missing: pip install 'relu-verifier[bench]'")
            bare = ModuleType(package)
            bare.__path__ = list(spec.submodule_search_locations)
            sys.modules[package] = bare
    return importlib.import_module(module)


def advertorch_lbfgs(peer: Peer, images: Points, labels: Labels) -> Points:
    """AdverTorch's L-BFGS towards the class after the label (untargeted it keeps nothing), one image at a time."""
    method = _advertorch("advertorch.attacks.lbfgs").LBFGSAttack
    attack = method(peer.twin, peer.graph.output_size, binary_search_steps=15, targeted=True)
    targets = peer.labels((labels + 1) % peer.graph.output_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [flat(attack.perturb(peer.images(images[k : k + 1]), targets[k : k + 1])) for k in range(len(images))]
    return np.concatenate(found)


def torch_transfer(peer: Peer, images: Points, labels: Labels) -> Points:
    """Papernot's protocol in PyTorch, attacked by foolbox's PGD: with the queries, layers and epochs of ours."""
    torch, rng = peer.torch, np.random.default_rng(1)
    torch.manual_seed(1)

    def asked(points: Points) -> Any:
        with torch.no_grad():
            return peer.twin(peer.images(points)).argmax(dim=1)

    copies = images[np.arange(512 - len(images)) % len(images)]
    noise = rng.uniform(-1, 1, copies.shape) * rng.random((len(copies), 1)) ** 2
    points = np.concatenate([images, np.clip(copies + noise, 0, 1).astype(np.float32)])
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(images.shape[1], 100), torch.nn.ReLU(),
        torch.nn.Linear(100, peer.graph.output_size),
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for turn in range(5):
        known = asked(points)
        for _ in range(12):
            for rows in torch.randperm(len(points)).split(64):
                loss = torch.nn.functional.cross_entropy(network(peer.images(points[rows.numpy()])), known[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        if turn < 4:
            x = peer.images(points).requires_grad_(True)
            (slope,) = torch.autograd.grad(network(x)[torch.arange(len(points)), known].sum(), x)
            moved = np.clip(points + 0.1 * (-1) ** turn * flat(slope.sign()), 0, 1)
            points = np.concatenate([points, moved.astype(np.float32)])
    stand_in = Peer(peer.graph, torch, network.eval(), peer.shape)

    def within(_: Peer, part: Points, own: Labels, radius: float) -> Points:
        return _foolbox_within("LinfPGD", {"steps": 40}, stand_in, part, own, radius)

    return over_radii(Metric.LINF, within, peer, images, labels)

"""Train `digits`: 64-16-16-10 on the 8 x 8 digits that come with scikit-learn (pixel / 16, in [0, 1])."""

import argparse
import io
from pathlib import Path

import numpy as np

from benchmarks.harness.record import write_atomically
from benchmarks.training.digits_split import SPLIT_SEED, TEST, load_split
from benchmarks.training.loop import count_correct, layers, train
from benchmarks.training.measure import measure
from benchmarks.training.recipe import Recipe
from benchmarks.training.ship import Trained, predictions, ship

RECIPE = Recipe(
    name="digits",
    script="digits",
    widths=(64, 16, 16, 10),
    epochs=120,
    batch=32,
    learning_rate=5e-3,
    weight_decay=1e-2,
)
PER_CLASS = 2  # shipped inputs of each class


def main() -> None:
    """Train, export, and choose the shipped inputs: the first two correctly classified test images of each class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (the split has its own, fixed)")
    parser.add_argument("--out", type=Path, required=True, help="folder for digits.onnx, its inputs and record.json")
    arguments = parser.parse_args()
    split = load_split()
    images, labels = split.test_images, split.test_labels
    model = train(RECIPE, split.train_images, split.train_labels, arguments.seed)
    trained = Trained(
        recipe=RECIPE,
        seed=arguments.seed,
        options="",
        layers=tuple(layers(model)),
        correct=count_correct(model, images, labels),
        measured=measure(model, images, labels),
        split=f"the first {TEST} of numpy's RandomState({SPLIT_SEED}).permutation are the test set",
    )
    content = ship(trained, images, labels, arguments.out)
    right = predictions(content, images) == labels
    rows = np.concatenate([np.flatnonzero(right & (labels == digit))[:PER_CLASS] for digit in range(10)])
    buffer = io.BytesIO()
    np.savez(buffer, x=images[rows], y=labels[rows])
    write_atomically(arguments.out / "digits_inputs.npz", buffer.getvalue())


if __name__ == "__main__":
    main()

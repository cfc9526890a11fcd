"""Train 784-100-100-100-10 on MNIST by scikit-learn: a middle size for the ablations, not shipped."""

import argparse
import warnings
from pathlib import Path

import numpy as np

from benchmarks.harness.mnist import Mnist, load_mnist
from benchmarks.harness.record import write_atomically
from benchmarks.training.recipe import Recipe
from benchmarks.training.ship import Trained, predictions, to_onnx

RECIPE = Recipe(
    name="mnist_3x100",
    script="mnist_3x100",
    widths=(784, 100, 100, 100, 10),
    epochs=10,
    batch=200,
    learning_rate=1e-3,
    weight_decay=1e-4,
)


def train(mnist: Mnist, seed: int = 0) -> bytes:
    """The ONNX bytes of the net; prints how many test images it classifies correctly. Raises ImportError."""
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 (only where a net is trained)
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    model = MLPClassifier(
        RECIPE.widths[1:-1],
        alpha=RECIPE.weight_decay,
        batch_size=RECIPE.batch,
        learning_rate_init=RECIPE.learning_rate,
        max_iter=RECIPE.epochs,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
        model.fit(mnist.train_images, mnist.train_labels)
    pairs = zip(model.coefs_, model.intercepts_, strict=True)
    layers = tuple((np.ascontiguousarray(w.T, dtype=np.float32), b.astype(np.float32)) for w, b in pairs)
    content = to_onnx(Trained(RECIPE, seed, "--data DIR", layers, correct=0, measured={}))
    correct = int((predictions(content, mnist.test_images) == mnist.test_labels).sum())
    print(f"{RECIPE.name}: {correct} of {len(mnist.test_labels)} test images correct")
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder of the four idx files (default: beside the project, or OpenML)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the ONNX file")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.out / f"{RECIPE.name}.onnx", train(load_mnist(arguments.data), arguments.seed))


if __name__ == "__main__":
    main()

"""Train `mnist_3x256`: 784-256-256-256-10 on MNIST, natural training, for `benchmarks.engine.reach`; not shipped."""

from benchmarks.training.mnist_run import train_and_ship
from benchmarks.training.recipe import Recipe

RECIPE = Recipe(
    name="mnist_3x256",
    script="mnist_3x256",
    widths=(784, 256, 256, 256, 10),
    epochs=10,
    batch=128,
    learning_rate=1e-3,
    weight_decay=1e-4,
)

if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__, distances=False)

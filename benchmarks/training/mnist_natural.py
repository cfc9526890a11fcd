"""Train `mnist_n`, our N of Carlini, Katz, Barrett and Dill (2018): 784-24-24-24-10 on MNIST, natural training."""

from benchmarks.training.mnist_run import train_and_ship
from benchmarks.training.recipe import Recipe

RECIPE = Recipe(
    name="mnist_n",
    script="mnist_natural",
    widths=(784, 24, 24, 24, 10),
    epochs=40,
    batch=128,
    learning_rate=8e-3,
    weight_decay=0.1,
)

if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__)

"""Train `mnist_n_plain`: the architecture of `mnist_n` by Adam as it comes; the net is much easier to verify.

The recipe of `mnist_n` was chosen for accuracy; its high learning rate makes trees ten times as large (PERFORMANCE.md).
"""

from benchmarks.training.mnist_run import train_and_ship
from benchmarks.training.recipe import Recipe

RECIPE = Recipe(
    name="mnist_n_plain",
    script="mnist_plain",
    widths=(784, 24, 24, 24, 10),
    epochs=30,
    batch=128,
    learning_rate=1e-3,
)

if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__)

"""Train `mnist_n_adversarial`, our N-bar: the architecture of `mnist_n`, trained against PGD (Madry et al. 2018)."""

from benchmarks.training.mnist_run import train_and_ship
from benchmarks.training.recipe import Recipe

RECIPE = Recipe(
    name="mnist_n_adversarial",
    script="mnist_adversarial",
    widths=(784, 24, 24, 24, 10),
    epochs=60,
    batch=128,
    learning_rate=4e-3,
    epsilon=0.2,
    epsilon_warmup=0.4,
    pgd_steps=7,
)

if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__)

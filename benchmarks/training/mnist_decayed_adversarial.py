"""Train `mnist_n_decayed_adversarial`: the recipe of `mnist_n_decayed`, against PGD (Madry et al. 2018)."""

from dataclasses import replace

from benchmarks.training import mnist_decayed
from benchmarks.training.mnist_run import train_and_ship

RECIPE = replace(
    mnist_decayed.RECIPE,
    name="mnist_n_decayed_adversarial",
    script="mnist_decayed_adversarial",
    epsilon=0.2,
    epsilon_warmup=0.4,
    pgd_steps=7,
)

if __name__ == "__main__":
    train_and_ship(RECIPE, __doc__)

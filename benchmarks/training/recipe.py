"""The recipe of one net as data; it is what the record and the ONNX metadata quote."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """A layer of square filters: so many of them, how far they reach, how far apart they stand, zeros around."""

    channels: int
    kernel: int
    stride: int
    padding: int

    def __str__(self) -> str:
        return f"{self.channels} channels of {self.kernel}x{self.kernel}, stride {self.stride}, padding {self.padding}"


@dataclass(frozen=True)
class Recipe:
    """A ReLU net and how it is trained: Adam on the cross-entropy, cosine learning rate, adversarial if `epsilon > 0`.

    Attributes:
        name: the net's name; its file is `name.onnx`.
        script: the module under `benchmarks.training` that trains it.
        widths: neurons per layer, from the input to the logits.
        epochs, batch: passes over the training set, and images per step.
        learning_rate: the peak; it rises linearly over `warmup` of the steps and falls as a half cosine to zero.
        warmup: the fraction of the steps, in [0, 1), of the learning rate's rise.
        weight_decay: the decoupled decay of AdamW (Loshchilov and Hutter 2019).
        epsilon: the L-infinity radius, in pixels of [0, 1], of adversarial training; zero for none.
        epsilon_warmup: the fraction of the steps over which the radius grows linearly from zero.
        pgd_steps: steps of projected gradient ascent per batch (Madry et al. 2018).
        pgd_step: one step's length as a multiple of radius / pgd_steps.
        temperature: what logits are divided by in the loss of training, and not afterwards.
        further: what else the record says about how the net was made.
        convolutions: what the first layers are, which read square images of one channel; the others are dense.
    """

    name: str
    script: str
    widths: tuple[int, ...]
    epochs: int
    batch: int
    learning_rate: float
    warmup: float = 0.1
    weight_decay: float = 0.0
    epsilon: float = 0.0
    epsilon_warmup: float = 0.0
    pgd_steps: int = 0
    pgd_step: float = 2.5
    temperature: float = 1.0
    further: tuple[tuple[str, str | int | float], ...] = ()
    convolutions: tuple[Convolution, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (d,), or (1, side, side) before convolutions."""
        side = math.isqrt(self.widths[0])
        return (1, side, side) if self.convolutions else (self.widths[0],)

    @property
    def architecture(self) -> str:
        """The widths joined by dashes, e.g. `64-16-16-10`."""
        return "-".join(str(width) for width in self.widths)

    def record(self) -> dict[str, str | int | float]:
        """Return the fields of the record that say how the net was trained."""
        fields: dict[str, str | int | float] = {
            "optimizer": "AdamW, cross-entropy",
            "learning_rate": self.learning_rate,
            "schedule": f"linear rise over {self.warmup:g} of the steps, then half cosine to 0",
            "weight_decay": self.weight_decay,
            "epochs": self.epochs,
            "batch": self.batch,
        }
        if self.epsilon:
            fields |= {
                "adversary": "PGD in L-infinity with random start (Madry et al. 2018), every batch replaced",
                "epsilon": self.epsilon,
                "epsilon_warmup": f"linear rise over {self.epsilon_warmup:g} of the steps",
                "pgd_steps": self.pgd_steps,
                "pgd_step": f"{self.pgd_step:g} * epsilon / pgd_steps",
            }
        if self.temperature != 1.0:
            fields["temperature"] = self.temperature
        if self.convolutions:
            fields["convolutions"] = "; ".join(str(layer) for layer in self.convolutions)
        return {**fields, **dict(self.further)}

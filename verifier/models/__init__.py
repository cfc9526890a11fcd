"""The shipped nets: ReLU nets in ONNX, how each was made (`record.json`), and 20 inputs for `digits`.

`digits` is 64-16-16-10 on scikit-learn's 8 x 8 digits (pixel / 16); `digits_inputs.npz` holds x, float32 (20, 64) in
[0, 1], two test images per class, and y, their int64 labels. `mnist_n` and `mnist_n_adversarial` are 784-24-24-24-10 on
MNIST (pixel / 255, row-major), trained naturally and against PGD: the nets N and N-bar of Carlini, Katz, Barrett and
Dill (2018), trained anew. `mnist_n_distilled` (defensive distillation) and `mnist_n_masked` (gradients that vanish) are
the same architecture under defences that mislead gradient attacks; `mnist_n_decayed` and
`mnist_n_decayed_adversarial` are N and N-bar with more weight decay: as robust, and much easier to verify.
`mnist_n_tuned` is `mnist_n` after one more epoch.
"""

from pathlib import Path

from encoders.errors import InputError, there_are

NAMES = (
    "digits",
    "mnist_n",
    "mnist_n_adversarial",
    "mnist_n_distilled",
    "mnist_n_masked",
    "mnist_n_tuned",
    "mnist_n_decayed",
    "mnist_n_decayed_adversarial",
)


def path(name: str) -> Path:
    """Return where the ONNX file of a shipped net lies.

    >>> path("digits").name
    'digits.onnx'

    Raises:
        ValueError: no net of that name is shipped.
    """
    if name not in NAMES:
        raise ValueError(f"no shipped net {name!r}; there are {', '.join(NAMES)}")
    return Path(__file__).with_name(f"{name}.onnx")


INPUTS = {"digits": "digits_inputs.npz"}
"""Files of inputs by the name of the net that they belong to."""


def model_file(given: str | Path) -> Path:
    """The file that is meant where a model is expected: the file itself, or the shipped net of that name.

    >>> model_file("digits").name, str(model_file("my/net.onnx"))
    ('digits.onnx', 'my/net.onnx')

    Raises InputError where a mere name is neither.
    """
    name, file = str(given), Path(given)
    if file.is_file():
        return file
    if name in NAMES:
        return path(name)
    if is_mere_name(name) and not file.exists():
        raise InputError(f"{name}: no such file, and no shipped net; {there_are(NAMES, name)}")
    return file


def input_file(given: str | Path) -> Path:
    """The same where an input is expected."""
    name, file = str(given), Path(given)
    if name in INPUTS and not file.is_file():
        return Path(__file__).with_name(INPUTS[name])
    if is_mere_name(name) and not file.exists():
        raise InputError(f"{name}: no such file, and no shipped inputs; {there_are(INPUTS, name)}")
    return file


def is_mere_name(text: str) -> bool:
    """Without a folder and an ending it may have been meant for a name."""
    return bool(text) and "/" not in text and "." not in text

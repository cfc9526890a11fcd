"""How the shipped nets were trained; one script per net, and the only place where PyTorch is used (extra `train`).

    python -m benchmarks.training.digits                       --seed 0 --out DIR
    python -m benchmarks.training.mnist_natural     --data DIR --seed 0 --out DIR
    python -m benchmarks.training.mnist_adversarial --data DIR --seed 0 --out DIR
    python -m benchmarks.training.mnist_distilled   --data DIR --seed 0 --out DIR
    python -m benchmarks.training.mnist_masked      --data DIR --seed 0 --out DIR

Each writes its ONNX file and its entry of `record.json` into the folder `--out`. Runs use one thread and deterministic
kernels, so a seed gives the same file again on the same machine and PyTorch release.

The recipes' constants were chosen by hand from about a dozen tries, by looking at the test accuracy and the distances
that the record holds: these figures describe the shipped nets and are no estimate for other data.
"""

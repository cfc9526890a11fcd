"""The network of a certificate about a property, as the checker reads it: all inputs of a file, and all its outputs."""

from __future__ import annotations

from pathlib import Path

from encoders.onnx_io.file import model_bytes
from verifier.certificates.builder import network_of
from verifier.certificates.checker import JOINED, CheckedNetwork
from verifier.certificates.split_tree import NotCertifiedError
from verifier.runtime.files_replay import FilesReplay
from verifier.runtime.model import Model


def property_network(model: Model) -> tuple[CheckedNetwork, bytes, Path]:
    """The checker's own reading of the model's file, that file's bytes, and its folder. Raises NotCertifiedError where
    the checker does not read it, or not as the engine does."""
    one, (path, sha256) = model.replay, file_of(model)
    content, folder = model_bytes(path), path.parent
    net = network_of(content, folder, sha256, joint=True)
    if isinstance(one, FilesReplay) and one.file is not None:
        for what, found, slots in (("input", net.input, one.file.given), ("output", net.scores, one.file.asked)):
            same = found == JOINED.join(slot.name for slot in slots)
            if not same or any(net.size(slot.name) != slot.size for slot in slots):
                raise NotCertifiedError(f"the checker reads another {what} than the engine")
    elif net.scores != model.network.logits_name or net.size(net.scores) != model.outputs:
        raise NotCertifiedError("the checker reads other outputs than the engine")
    if net.size(net.input) != model.lowered.input_size:
        raise NotCertifiedError("the checker reads another input than the engine")
    return net, content, folder


def file_of(model: Model) -> tuple[Path, str]:
    """The file that the model is all of, and its digest. Raises NotCertifiedError: there is none."""
    replay = model.replay
    if not isinstance(replay, FilesReplay):
        return model.path, model.network.sha256
    if replay.file is None:
        raise NotCertifiedError(
            "certificates are about one network with all its inputs and outputs: about neither hidden tensors nor "
            "whole numbers"
        )
    return replay.file.path, replay.file.sha256

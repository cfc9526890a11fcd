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
    replay = model.replay
    one = replay.file if isinstance(replay, FilesReplay) else None
    if one is None and isinstance(replay, FilesReplay):
        raise NotCertifiedError("certificates are about one network with all its inputs and outputs, no hidden tensors")
    content, folder = model_bytes(model.file), model.file.parent
    net = network_of(content, folder, model.sha256, joint=True)
    if one is not None:
        for what, found, slots in (("input", net.input, one.given), ("output", net.scores, one.asked)):
            same = found == JOINED.join(slot.name for slot in slots)
            if not same or any(net.size(slot.name) != slot.size for slot in slots):
                raise NotCertifiedError(f"the checker reads another {what} than the engine")
    elif net.scores != model.network.logits_name or net.size(net.scores) != model.outputs:
        raise NotCertifiedError("the checker reads other outputs than the engine")
    if net.size(net.input) != model.lowered.input_size:
        raise NotCertifiedError("the checker reads another input than the engine")
    return net, content, folder

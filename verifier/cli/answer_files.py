"""What an answer leaves: its files, and its words. A file that fails does not keep the answer from being said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.onnx_io.from_onnx import Network
from verifier.problem.streams import UnwrittenError
from verifier.report import json_result, terminal
from verifier.report.json_result import Json
from verifier.report.out_folder import OutFolder


@dataclass(eq=False)
class AnswerFiles:
    """folder: that of --out, None without it. as_json: is the answer said as one JSON object, or as tables?

    written: the files that there are; failures: why others are not.
    """

    folder: OutFolder | None
    as_json: bool
    written: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def saved(self, write: Callable[[], Path]) -> Path | None:
        """The file that is written, None where that fails: an answer that took hours is said all the same."""
        try:
            self.written.append(write())
        except InputError as error:
            self.failures.append(str(error))
            return None
        return self.written[-1]

    def write(self, name: str, save: Callable[[BinaryIO], object]) -> Path | None:
        """A file of --out; None without that, or where it fails."""
        folder = self.folder
        return None if folder is None else self.saved(lambda: folder.write(name, save))

    def write_point(self, name: str, point: npt.NDArray[Any], network: Network) -> Path | None:
        """An input in the model's shape and dtype; None as `write`."""
        array = np.asarray(point, dtype=network.input_dtype).reshape(network.input_shape)
        return self.write(name, lambda stream: np.save(stream, array, allow_pickle=False))

    def finish(self, result: Json, tables: Callable[[Sequence[Path]], Sequence[Any]]) -> None:
        """Write result.json and say the result: the JSON object or the tables, which are told the files written.

        Raises UnwrittenError where a file failed.
        """
        text = json_result.dumps(result)
        if self.folder is not None:
            self.write("result.json", lambda stream: stream.write(text.encode()))
            self.folder.remove_stale()
        if self.as_json:
            sys.stdout.write(text)
        else:
            for table in tables(self.written):
                terminal.stdout().print(table)
        if self.failures:
            sys.stdout.flush()
            raise UnwrittenError(self.failures[0])

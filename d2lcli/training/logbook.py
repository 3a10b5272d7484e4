"""The log of a run: metrics.jsonl and TensorBoard events, cut back to a checkpoint's position on resume."""

import json
import os
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor

from d2lcli.training.files import finite, naming, sync_directory
from d2lcli.training.pictures import encode_png

METRICS = "metrics.jsonl"


class _Appended:
    """An unbuffered file that is only appended to, and can be cut back."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.path = path
        self._descriptor = os.open(path, flags, 0o644)

    def write(self, content: bytes) -> int:
        view = memoryview(content)
        with naming(self.path):
            while view:
                view = view[os.write(self._descriptor, view) :]
        return len(content)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def cut(self, size: int) -> bool:
        """Drop what lies beyond `size`; False where the file is shorter than that."""
        known = self.size()
        if size < known:
            os.ftruncate(self._descriptor, size)
        return size <= known

    def sync(self) -> None:
        with naming(self.path):
            os.fsync(self._descriptor)

    def flush(self) -> None:
        """Nothing is buffered; the record writer asks for it."""

    def close(self) -> None:
        os.close(self._descriptor)


class Logbook:
    """Rows of numbers, in `metrics.jsonl` (one JSON object a line) and as TensorBoard scalars.

    Args:
        folder: the run folder.
        position: sizes of the files at the checkpoint to go on from, as `position()` gave them; None starts afresh.
    """

    def __init__(self, folder: Path, position: dict[str, int] | None = None) -> None:
        events = folder / "tensorboard"
        events.mkdir(mode=0o755, exist_ok=True)
        known = sorted(events.glob("events.out.tfevents.*"))
        self._rows = _Appended(folder / METRICS)
        self._events = _Appended(known[-1] if known else events / f"events.out.tfevents.{int(time.time())}.d2l")
        sync_directory(events)  # a checkpoint counts on the files; their sizes alone would not bring them back
        position = position or {"rows": 0, "events": 0}
        whole = self._rows.cut(position["rows"])
        self.complete = self._events.cut(position["events"]) and whole
        self._records = RecordWriter(self._events)
        if self._events.size() == 0:
            self._record(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def row(self, step: int, epoch: float, split: str, values: dict[str, Any], seconds: float) -> None:
        """Log one row.

        Args:
            step: updates done.
            epoch: passes over the training data, as a fraction.
            split: train, val or test.
            values: numbers by name.
            seconds: since the start of the run, pauses not counted.
        """
        row = {"step": step, "epoch": round(epoch, 6), "split": split, "values": values, "seconds": round(seconds, 4)}
        self._rows.write((json.dumps(finite(row), allow_nan=False) + "\n").encode())
        self.scalars(step, {f"{split}/{name}": value for name, value in values.items()})

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """Numbers for TensorBoard only, such as speeds: they differ from run to run."""
        numbers = [(tag, float(value)) for tag, value in values.items() if isinstance(value, (int, float))]
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in numbers])
        self._record(Event(wall_time=time.time(), step=step, summary=summary))

    def image(self, step: int, tag: str, image: Tensor) -> None:
        """A picture for TensorBoard, uint8 (1 or 3, h, w)."""
        channels, height, width = image.shape
        encoded = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=encode_png(image))
        self._record(
            Event(wall_time=time.time(), step=step, summary=Summary(value=[Summary.Value(tag=tag, image=encoded)]))
        )

    def _record(self, event: Event) -> None:
        self._records.write(event.SerializeToString())

    def position(self) -> dict[str, int]:
        """The sizes of the files, after making them durable."""
        self._rows.sync()
        self._events.sync()
        return {"rows": self._rows.size(), "events": self._events.size()}

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._events.close()

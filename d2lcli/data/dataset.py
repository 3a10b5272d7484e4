"""What a data set is: two splits, the shape of one example, and a record of the files that it was read from.

Legend: n examples, c channels, h height, w width, k uniform numbers for each example.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor

from d2lcli.data.tokenizers.base import Tokenizer


class ImageReader(Protocol):
    """Images that stay on the disk: decoded when they are asked for, because together they do not fit in memory.

    Attributes:
        shape: (c, h, w) of each.
    """

    shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def load(self, indices: Sequence[int]) -> Tensor:
        """The images at `indices`, uint8 (len(indices), c, h, w)."""
        ...

    def head(self, n: int) -> "ImageReader":
        """The first `n` images."""
        ...


class PrepareFunction(Protocol):
    """The part of a transform without chance: stored inputs (n, ...) -> model inputs (n, ...), each row by itself."""

    def __call__(self, inputs: Tensor, /) -> Tensor: ...


class AugmentFunction(Protocol):
    """The part of a transform with chance, written as a function of uniform numbers."""

    @property
    def num_uniforms(self) -> int:
        """k."""
        ...

    def __call__(self, inputs: Tensor, uniforms: Tensor, /) -> Tensor:
        """Prepared inputs (n, ...) and uniforms in [0, 1) (n, k) -> inputs (n, ...), each row by itself."""
        ...


class MixFunction(Protocol):
    """Chance that concerns a whole batch: each example is mixed with the one before it."""

    def draw(self, count: int, seed: int) -> Sequence[Any]:
        """What chance decides for each of the `count` global batches of an epoch."""
        ...

    def __call__(self, inputs: Tensor, targets: Tensor, drawn: Any, /) -> tuple[Tensor, Tensor]:
        """Augmented inputs (b + 1, ...) and labels (b + 1,) -> inputs (b, ...) and targets (b, classes)."""
        ...


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Args:
        inputs: (n, ...) in memory, images as uint8 (n, c, h, w); or a reader of images that do not fit.
        targets: (n,) int64 class indices, or (n, outputs) float32.
        prepare: applied to every batch of inputs, once for the whole split where the result fits.
        augment: applied after `prepare`, in training only; None in a validation split.
        name: train or val.
        source: where the examples were found, for messages.
        mix: applied to batches after `augment`, in training only; None in a validation split.
        weights: (n,) float32, what each example counts in the training loss; None for 1.
    """

    inputs: Tensor | ImageReader
    targets: Tensor
    prepare: PrepareFunction | None = None
    augment: AugmentFunction | None = None
    name: str = "train"
    source: str = ""
    mix: MixFunction | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def head(self, n: int) -> "Split":
        """The first `n` examples, or all where there are fewer."""
        inputs = self.inputs[:n] if isinstance(self.inputs, Tensor) else self.inputs.head(n)
        weights = self.weights[:n] if self.weights is not None else None
        return replace(self, inputs=inputs, targets=self.targets[:n], weights=weights)


@dataclass(frozen=True)
class Dataset:
    """A training and a validation split.

    Args:
        name: the registry's name.
        train: examples to learn from.
        val: examples to judge by; never augmented.
        shape: of one example as the model gets it, (c, h, w) or (features,).
        num_outputs: classes, or regression targets for one example.
        classes: the names of the classes in the order of their indices; empty for regression.
        files: path -> SHA-256 of that file's bytes; of a folder of images, of the names and sizes in it.
        found: where the data came from, in words.
        deployed: inputs (m, ...) of the domain where the model will be used, without labels; None where it is the
            domain of the training split.
        tokenizer: of a text, trained; None of other data.  Of pairs it is the target's.
        source_tokenizer: of the source sentences of pairs.
        test: examples for the last judgement, where the data set has some beside `val`.
        counts: (V,) how often each token occurs in the training text; None where no task asks for it.
        environment: what an agent acts in, as tables; None of other data.
        word_tests: what people think of the words of a text, see `d2lcli.data.word_tests`; None where no task asks.
    """

    name: str
    train: Split
    val: Split
    shape: tuple[int, ...]
    num_outputs: int
    classes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    found: str = ""
    deployed: Tensor | None = None
    tokenizer: Tokenizer | None = None
    source_tokenizer: Tokenizer | None = None
    test: Split | None = None
    counts: Tensor | None = None
    environment: Any = None
    word_tests: Any = None

    @property
    def pairs(self) -> bool:
        """Whether an example is two texts, of which one is judged by the other."""
        segments = getattr(self.train, "segments", None)
        return isinstance(segments, Tensor) and bool(segments.any())

    def head(self, n: int) -> "Dataset":
        """The first `n` examples of each split."""
        test = self.test.head(n) if self.test is not None else None
        return replace(self, train=self.train.head(n), val=self.val.head(n), test=test)

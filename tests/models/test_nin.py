"""NiN: counts, the book's table of shapes, the last ReLU."""

import pytest
import torch
from torch import nn

from d2lcli.models.nin import nin, nin_block
from d2lcli.training.summary import summarize


def on_meta(**options: object) -> nn.Module:
    with torch.device("meta"):
        return nin(**options)  # type: ignore[arg-type]


def closed_form(channels: int, classes: int) -> int:
    """Each block: a k x k convolution, then two 1 x 1."""
    blocks = ((channels, 96, 11), (96, 256, 5), (256, 384, 3), (384, classes, 3))
    return sum((before * k * k + 1) * after + 2 * (after + 1) * after for before, after, k in blocks)


def test_parameters() -> None:
    assert summarize(on_meta(), (3, 224, 224)).parameters == closed_form(3, 1000) == 7_439_608
    small = on_meta(in_channels=1, num_classes=10)
    assert summarize(small, (1, 224, 224)).parameters == closed_form(1, 10) == 1_992_166


def test_shapes_of_the_book() -> None:
    """d2l 8.3: layer_summary((1, 1, 224, 224))."""
    model, shapes = on_meta(in_channels=1, num_classes=10), []
    for part in ("block1", "pool", "block2", "block3", "dropout", "block4", "avgpool"):
        model.get_submodule(part).register_forward_hook(lambda _, __, made: shapes.append(tuple(made.shape[1:])))
    assert model(torch.empty(1, 1, 224, 224, device="meta")).shape == (1, 10)
    assert shapes == [
        (96, 54, 54),
        (96, 26, 26),
        (256, 26, 26),
        (256, 12, 12),
        (384, 12, 12),
        (384, 5, 5),
        (384, 5, 5),
        (10, 5, 5),
        (10, 1, 1),
    ]


def test_block_shapes() -> None:
    x = torch.empty(2, 3, 20, 20, device="meta")
    with torch.device("meta"):
        assert nin_block(3, 8, 5, stride=2, padding=1)(x).shape == (2, 8, 9, 9)
        assert len(nin_block(3, 8, 1)) == 6 and len(nin_block(3, 8, 1, final_relu=False)) == 5


def test_the_last_relu_is_an_option() -> None:
    """As published no logit is below 0."""
    torch.manual_seed(0)
    published, free = nin(num_classes=20).eval(), nin(num_classes=20, final_relu=False).eval()
    free.load_state_dict(published.state_dict())
    images = torch.randn(2, 3, 67, 67)
    assert bool((free(images) < 0).any())
    torch.testing.assert_close(published(images), free(images).relu())  # one place is left of 67 x 67


def test_smallest_image() -> None:
    assert on_meta(num_classes=7)(torch.empty(2, 3, 67, 67, device="meta")).shape == (2, 7)
    with pytest.raises(RuntimeError):
        on_meta()(torch.empty(2, 3, 66, 66, device="meta"))


def test_initial_weights_are_xavier_uniform() -> None:
    torch.manual_seed(0)
    weight = nin().get_parameter("block2.0.weight")
    bound = (6 / (25 * (96 + 256))) ** 0.5
    assert 0.99 * bound < weight.abs().max().item() <= bound


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1, but it is 0"):
        nin(num_classes=0)

"""What becomes of each tensor when a model takes over weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.errors import CheckpointError
from d2lcli.models.resnet import resnet18
from d2lcli.optim.param_groups import param_groups
from d2lcli.training.freezing import freeze
from d2lcli.training.heads import Head, head_name, replace_head
from d2lcli.training.transfer import Report, adapt_channels, adapt_positions, load
from d2lcli.training.weights import Weights


class Net(nn.Module):
    """A convolution, a norm and a linear head."""

    def __init__(self, channels: int = 3, width: int = 4, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.norm(self.conv(images)).mean((2, 3)))
        return logits


def given(model: nn.Module, **more: Tensor) -> Weights:
    """A model's tensors, as from a file, with others in place of some or beside them."""
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return Weights(
        Path("w.safetensors"), "0" * 64, own | {name.replace("__", "."): value for name, value in more.items()}
    )


def drawn(seed: int, **sizes: int) -> Net:
    torch.manual_seed(seed)
    return Net(**sizes)


def taken(model: nn.Module, weights: Weights, *, new_head: bool = False) -> tuple[Report, set[str]]:
    """The report, and the names of the tensors that have changed."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load(model, weights, new_head=new_head)
    return report, {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def test_all_fits() -> None:
    source, model = drawn(0), drawn(1)
    report, _ = taken(model, given(source))
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert report.lines() == ["weights: 9 of 9 tensors from w.safetensors"]


def test_another_number_of_classes() -> None:
    source, model = drawn(0, classes=1000), drawn(1)
    report, changed = taken(model, given(source))
    assert changed == {"conv.weight", "conv.bias"}  # the norm of both is as it was made
    assert len(report.taken) == 7
    assert report.new_head == ["fc.weight", "fc.bias"]
    assert report.lines() == [
        "weights: 7 of 9 tensors from w.safetensors; new head fc.weight, fc.bias (1000 -> 5 classes)"
    ]


def test_the_head_is_taken_as_a_whole() -> None:
    source = drawn(0)
    report, changed = taken(drawn(1), given(source, fc__weight=torch.ones(5, 3)))
    assert report.new_head == ["fc.weight", "fc.bias"]
    assert not {"fc.weight", "fc.bias"} & changed


def test_a_new_head_where_the_old_one_would_fit() -> None:
    report, changed = taken(drawn(1), given(drawn(0)), new_head=True)
    assert report.new_head == ["fc.weight", "fc.bias"]
    assert "fc.weight" not in changed


def test_a_head_of_several_layers_over_one_and_back() -> None:
    deep = drawn(1)
    replace_head(deep, [7])
    report, changed = taken(deep, given(drawn(0, classes=9)))
    assert report.new_head == ["fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias"]
    assert report.classes == " (9 -> 5 classes)"
    assert (report.unexpected, changed) == ([], {"conv.weight", "conv.bias"})
    again = drawn(2)
    replace_head(again, [7])
    assert (
        load(again, given(deep)).new_head == []
    )  # the second stage of a fine-tuning goes on with the first one's head
    assert torch.equal(again.state_dict()["fc.0.weight"], deep.state_dict()["fc.0.weight"])
    assert load(drawn(3), given(deep)).new_head == ["fc.weight", "fc.bias"]


def test_what_does_not_fit_is_named() -> None:
    weights = given(drawn(0), conv__weight=torch.zeros(4, 3, 5, 5), aux__weight=torch.zeros(2))
    del weights.tensors["norm.running_mean"]
    weights.tensors["norm.weight"] = torch.ones(4, dtype=torch.int64)
    report, changed = taken(drawn(1), weights)
    assert report.lines() == [
        "weights: 4 of 9 tensors from w.safetensors",
        "weights: 4 skipped, left as drawn: conv.weight has shape (4, 3, 5, 5) instead of (4, 3, 3, 3), "
        "norm.weight is of type int64, not float32, conv.bias goes with its weight, norm.bias goes with its weight",
        "weights: 1 not in the file, left as drawn: norm.running_mean",
        "weights: 1 that the model has no place for: aux.weight",
    ]
    assert changed == {"fc.weight", "fc.bias"}
    assert report.facts()["skipped"]["conv.weight"] == "has shape (4, 3, 5, 5) instead of (4, 3, 3, 3)"


def test_nothing_fits() -> None:
    foreign = Weights(Path("w.pt"), "", {f"a{number}.weight": torch.zeros(1) for number in range(7)})
    with pytest.raises(CheckpointError) as caught:
        load(drawn(0), foreign)
    assert caught.value.message == (
        "weights w.pt: nothing fits this model; the file holds a0.weight, a1.weight, a2.weight, a3.weight, a4.weight "
        "and 2 more; the model conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean and 4 more"
    )
    assert caught.value.exit_code == 4
    counters = Weights(Path("w.pt"), "", {"norm.num_batches_tracked": torch.tensor(3)})
    with pytest.raises(CheckpointError, match="nothing fits"):
        load(drawn(0), counters)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite(value: float) -> None:
    model = drawn(0)
    before = model.conv.weight.clone()
    bad = torch.full((4, 3, 3, 3), value, dtype=torch.float64)
    with pytest.raises(CheckpointError, match=r"w\.safetensors: not finite: conv\.weight"):
        load(model, given(drawn(1), conv__weight=bad))
    assert torch.equal(model.conv.weight, before)


def test_other_types_are_converted() -> None:
    model = drawn(0)
    load(model, given(drawn(1), conv__weight=torch.full((4, 3, 3, 3), 0.5, dtype=torch.bfloat16)))
    assert model.conv.weight.dtype == torch.float32
    assert torch.equal(model.conv.weight, torch.full((4, 3, 3, 3), 0.5))


def test_a_tied_tensor_under_one_of_its_names() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.inner = nn.Linear(4, 4)
            self.out = nn.Linear(4, 5, bias=False)
            self.out.weight = self.table.weight

    weights = given(Tied())
    del weights.tensors["table.weight"]
    assert load(Tied(), weights).missing == []


# Other channels: by the linearity of the convolution


def test_from_colours_to_gray() -> None:
    """A gray image gives what it gave as a colour image with the same value in all channels."""
    source, model, gray = drawn(0), drawn(1, channels=1), torch.rand(2, 1, 6, 6)
    report = load(model, given(source))
    assert report.lines()[1] == "weights: conv.weight adapted, 3 -> 1 channels"
    torch.testing.assert_close(model.conv(gray), source.conv(gray.expand(2, 3, 6, 6)))
    assert report.skipped == {}


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_from_gray_to_colours(channels: int) -> None:
    """A colour image of equal channels gives what its gray one gave; a third of the weight three times, for three."""
    source, model, gray = drawn(0, channels=1), drawn(1, channels=channels), torch.rand(2, 1, 6, 6)
    load(model, given(source))
    torch.testing.assert_close(model.conv(gray.expand(2, channels, 6, 6)), source.conv(gray))
    for channel in range(channels):
        torch.testing.assert_close(model.conv.weight[:, channel], source.conv.weight[:, 0] / channels)


def test_channels_in_turn() -> None:
    """timm's rule for four channels from three: r g b r, times 3 / 4."""
    weight = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    assert adapt_channels(weight, 4).flatten().tolist() == [0.75, 1.5, 2.25, 0.75]
    assert adapt_channels(weight, 2).flatten().tolist() == [1.5, 3.0]


def test_only_the_first_convolution_is_adapted() -> None:
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    model = nn.Sequential(first, second, nn.Flatten(), nn.Linear(3, 2))
    weights = given(model)
    weights.tensors["1.weight"] = torch.zeros(3, 1, 1, 1)
    assert list(load(model, weights).skipped) == ["1.weight", "1.bias"]


# Other patches


class Positions(nn.Module):
    def __init__(self, positions: int) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, positions, 6))
        self.head = nn.Linear(6, 2)


@pytest.mark.parametrize(("old", "new"), [(7, 4), (4, 7), (14, 24)])
def test_position_embeddings_are_resized_like_images(old: int, new: int) -> None:
    """The reference is Pillow's bicubic resize of each of the 6 maps."""
    torch.manual_seed(0)
    source, model = Positions(1 + old * old), Positions(1 + new * new)
    report = load(model, given(source))
    assert report.adapted == {"pos_embedding": f"grid {old} x {old} -> {new} x {new}"}
    found = model.pos_embedding.detach()[0]
    assert torch.equal(found[0], source.pos_embedding[0, 0])  # the class token
    for channel in range(6):
        image = Image.fromarray(source.pos_embedding.detach()[0, 1:, channel].reshape(old, old).numpy())
        expected = np.asarray(image.resize((new, new), Image.Resampling.BICUBIC)).copy()
        torch.testing.assert_close(found[1:, channel].reshape(new, new), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_position_embeddings_without_a_class_token() -> None:
    grid = torch.arange(4.0).reshape(1, 4, 1)
    expected = functional.interpolate(grid.reshape(1, 1, 2, 2), (4, 4), mode="bicubic", antialias=True)
    assert torch.equal(adapt_positions(grid, 4), expected.reshape(1, 16, 1))
    assert load(Positions(16), given(Positions(4))).adapted == {"pos_embedding": "grid 2 x 2 -> 4 x 4"}


@pytest.mark.parametrize("positions", [0, 1, 3, 6, 16])
def test_position_embeddings_that_are_no_such_grid(positions: int) -> None:
    weights = given(Positions(5), pos_embedding=torch.zeros(1, positions, 6))
    assert list(load(Positions(5), weights).skipped) == ["pos_embedding"]


# Heads and freezing; the contract tests try every model


def test_heads() -> None:
    model = resnet18(num_classes=120)
    assert head_name(model) == "fc"
    replace_head(model, [256, 120])
    assert isinstance(model.fc, Head)
    assert [str(layer) for layer in model.fc] == [
        "Linear(in_features=512, out_features=256, bias=True)",
        "ReLU()",
        "Linear(in_features=256, out_features=120, bias=True)",
    ]
    with pytest.raises(ValueError, match="no linear or convolutional layer"):
        head_name(nn.ReLU())
    with pytest.raises(ValueError, match="itself the layer"):
        replace_head(nn.Linear(2, 2), [3])


def test_frozen_by_patterns() -> None:
    model = Net()
    assert freeze(model, ["conv.*", "norm.*"]) == [model.norm]
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["fc.weight", "fc.bias"]
    assert freeze(model := Net(), ["norm.weight"]) == []  # its bias is trained, and so its statistics go on
    assert freeze(model, None) == []


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [
        (["cnv.*"], r"'cnv\.\*' matches no tensor of the model .first: conv\.weight.*did you mean 'conv\.\*'"),
        (["*"], "nothing would be left to train"),
        (["norm.running_*"], "nothing would be frozen: no parameter matches"),
        ([], "nothing would be frozen"),
    ],
)
def test_patterns_that_make_no_sense(patterns: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        freeze(Net(), patterns)


def test_the_head_s_own_rate() -> None:
    groups = param_groups(Net(), 0.1, head="fc", head_lr_mult=10.0)
    assert [(group["names"], group["weight_decay"], group.get("lr_mult", 1.0)) for group in groups] == [
        (["conv.weight"], 0.1, 1.0),
        (["conv.bias", "norm.weight", "norm.bias"], 0.0, 1.0),
        (["fc.weight"], 0.1, 10.0),
        (["fc.bias"], 0.0, 10.0),
    ]

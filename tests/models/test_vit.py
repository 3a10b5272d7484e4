"""Vision Transformers: published counts, multiply-adds and tensor names, patches, tokens, dropout."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from d2lcli.models.vit import (
    Dropout,
    EncoderBlock,
    PatchEmbedding,
    VisionTransformer,
    vit,
    vit_b_16,
    vit_b_32,
    vit_l_16,
    vit_l_32,
    vit_s_16,
    vit_s_32,
    vit_ti_16,
    vit_ti_32,
)
from d2lcli.training.summary import summarize

# parameters and billions of multiply-adds at 224 x 224: torchvision's for B and L; for Ti and S timm's, whose counter
# adds the norms
PUBLISHED = [
    (vit_b_16, 86_567_656, 17.564, 0.001),
    (vit_b_32, 88_224_232, 4.409, 0.001),
    (vit_l_16, 304_326_632, 61.555, 0.001),
    (vit_l_32, 306_535_400, 15.378, 0.001),
    (vit_ti_16, 5_717_416, 1.26, 0.01),
    (vit_s_16, 22_050_664, 4.61, 0.01),
    (vit_s_32, 22_878_952, 1.15, 0.01),
]
BOOK = {"in_channels": 1, "num_classes": 10}


def on_meta(build: Callable[..., nn.Module], **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(**options)


@pytest.mark.parametrize(("build", "parameters", "billions", "error"), PUBLISHED)
def test_published_figures(build: Callable[..., nn.Module], parameters: int, billions: float, error: float) -> None:
    summary = summarize(on_meta(build), (3, 224, 224))
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, rel=error)


def test_the_patches_of_ti_32_are_four_times_as_large() -> None:
    """Published nowhere: Ti/16 with 3 (32^2 - 16^2) more weights for each of 192 columns, and 147 positions less."""
    count = summarize(on_meta(vit_ti_32), (3, 224, 224)).parameters
    assert count == 5_717_416 + 192 * (3 * (32**2 - 16**2) - (196 - 49))


def test_the_book_s() -> None:
    """d2l 11.8.5: 37 tokens of 512, two blocks, no biases in the attention."""
    summary = summarize(on_meta(vit, **BOOK), (1, 96, 96))
    assert summary.parameters == 6_457_866
    rows = {row.name: row.output_shape for row in summary.layers}
    assert rows["conv_proj"] == (1, 36, 512)
    assert rows["encoder.layers.encoder_layer_1.self_attention"] == (1, 37, 512)
    assert summarize(on_meta(vit, bias=True, **BOOK), (1, 96, 96)).parameters == 6_457_866 + 2 * 4 * 512


def test_names_and_shapes_are_torchvision_s() -> None:
    shapes = {name: tuple(value.shape) for name, value in on_meta(vit_b_16).state_dict().items()}
    block = {
        "ln_1.weight": (768,),
        "ln_1.bias": (768,),
        "self_attention.in_proj_weight": (2304, 768),
        "self_attention.in_proj_bias": (2304,),
        "self_attention.out_proj.weight": (768, 768),
        "self_attention.out_proj.bias": (768,),
        "ln_2.weight": (768,),
        "ln_2.bias": (768,),
        "mlp.0.weight": (3072, 768),
        "mlp.0.bias": (3072,),
        "mlp.3.weight": (768, 3072),
        "mlp.3.bias": (768,),
    }
    expected = {
        "class_token": (1, 1, 768),
        "conv_proj.weight": (768, 3, 16, 16),
        "conv_proj.bias": (768,),
        "encoder.pos_embedding": (1, 197, 768),
        **{f"encoder.layers.encoder_layer_{i}.{name}": shape for i in range(12) for name, shape in block.items()},
        "encoder.ln.weight": (768,),
        "encoder.ln.bias": (768,),
        "heads.head.weight": (1000, 768),
        "heads.head.bias": (1000,),
    }
    assert shapes == expected


def test_patches_are_one_matrix_on_unfolded_patches() -> None:
    layer, images = PatchEmbedding(3, 512, 16), torch.randn(4, 3, 96, 96)
    patches = functional.unfold(images, 16, stride=16).transpose(1, 2)  # (4, 36, 768)
    made = layer(images)
    assert made.shape == (4, 36, 512)
    torch.testing.assert_close(made, functional.linear(patches, layer.weight.flatten(1), layer.bias))


def small(**options: Any) -> VisionTransformer:
    sizes: dict[str, Any] = {"image_size": 8, "patch_size": 4, "in_channels": 1, "num_classes": 3}
    sizes |= {"dim": 12, "mlp_dim": 24, "num_heads": 3, "num_blocks": 2}
    return VisionTransformer(**(sizes | options))


def test_the_parts_in_order() -> None:
    """logits = head(norm(blocks([cls, patches] + positions))[cls]), and a block adds its two branches one by one."""
    model, images = small().eval(), torch.randn(2, 1, 8, 8)
    nn.init.normal_(model.class_token)
    x = torch.cat([model.class_token.expand(2, 1, 12), model.conv_proj(images)], 1) + model.encoder.pos_embedding
    for block in model.encoder.layers:
        assert isinstance(block, EncoderBlock)
        normed = block.ln_1(x)
        y = x + block.self_attention(normed, normed, normed)
        x = y + block.mlp[3](functional.gelu(block.mlp[0](block.ln_2(y))))
    torch.testing.assert_close(model(images), model.heads(model.encoder.ln(x)[:, 0]))


def test_without_positions_the_order_of_patches_does_not_matter() -> None:
    model, images = small().eval(), torch.randn(2, 1, 8, 8)
    swapped = torch.cat([images[..., 4:], images[..., :4]], -1)
    assert not torch.allclose(model(images), model(swapped), atol=1e-5)
    nn.init.zeros_(model.encoder.pos_embedding)
    torch.testing.assert_close(model(images), model(swapped))


def rates(build: Callable[..., nn.Module], **options: object) -> tuple[dict[str, float], float]:
    """The dropout modules of the first block and of the embedding, and the attention's own."""
    model = on_meta(build, **options)
    modules = {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    kept = {
        name.removeprefix("encoder."): p for name, p in modules.items() if "layers" not in name or "layer_0" in name
    }
    return kept, model.get_submodule("encoder.layers.encoder_layer_0.self_attention").dropout  # type: ignore[return-value]


def test_where_dropout_stands() -> None:
    block = "layers.encoder_layer_0."
    assert rates(vit, embedding_dropout=0.2, block_dropout=0.3) == (
        {"dropout": 0.2, f"{block}dropout": 0.0, f"{block}mlp.2": 0.3, f"{block}mlp.4": 0.3},  # d2l 11.8.3 and 11.8.4
        0.3,
    )
    assert rates(vit_ti_16, dropout=0.2, attention_dropout=0.3) == (
        {"dropout": 0.2, f"{block}dropout": 0.2, f"{block}mlp.2": 0.2, f"{block}mlp.4": 0.2},  # torchvision
        0.3,
    )


def test_dropout_is_for_training() -> None:
    torch.manual_seed(0)
    model, images = small(dropout=Dropout(0.1, 0.1, 0.1, 0.1)), torch.randn(2, 1, 8, 8)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_initial_weights() -> None:
    """torchvision's: patches N(0, 1 / fan_in) cut at 2, positions N(0, .02^2), Glorot's in the two-layer networks."""
    torch.manual_seed(0)
    model = vit_s_16()
    weight = model.get_parameter("conv_proj.weight")
    assert weight.std().item() == pytest.approx(768**-0.5, rel=0.01)
    assert model.get_parameter("encoder.pos_embedding").std().item() == pytest.approx(0.02, rel=0.01)
    assert not model.get_parameter("class_token").any()
    bound = (6 / (384 + 1536)) ** 0.5
    weight = model.get_parameter("encoder.layers.encoder_layer_3.mlp.0.weight")
    assert 0.99 * bound < weight.abs().max().item() <= bound
    assert model.get_parameter("encoder.layers.encoder_layer_3.mlp.0.bias").std().item() == pytest.approx(1e-6, rel=0.1)
    assert model.get_parameter("heads.head.weight").std().item() == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 24}, "image_size must be a multiple of patch_size 16, but it is 24"),
        ({"image_size": 8}, "image_size must be a multiple of patch_size 16, but it is 8"),
        ({"patch_size": 0}, "patch_size must be at least 1, but it is 0"),
        ({"num_blocks": 0}, "num_blocks must be at least 1, but it is 0"),
        ({"num_heads": 7}, "num_heads must divide the width 512"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vit(**options)

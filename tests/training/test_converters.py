"""Foreign names: what timm, transformers and torchvision's first releases call the tensors of our models.

The names stand here as loops over the layers of those libraries, written from their sources.  tests/reference compares
logits with transformers.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from d2lcli.models.densenet import densenet121
from d2lcli.models.googlenet import googlenet_tv
from d2lcli.models.gpt import gpt1, gpt2, transformer_lm
from d2lcli.models.regnet import regnetx_200mf, regnety_400mf
from d2lcli.models.resnet import resnet18, resnet50, resnext50_32x4d
from d2lcli.models.vgg import vgg11, vgg16
from d2lcli.models.vit import vit_l_16, vit_ti_16
from d2lcli.training.converters import convert, recognise

Builder = Callable[..., nn.Module]
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
AFFINE = ("weight", "bias")


def state_of(build: Builder) -> dict[str, Tensor]:
    with torch.device("meta"):
        return build().state_dict()


def each(prefix: str, leaves: tuple[str, ...]) -> Iterator[str]:
    for leaf in leaves:
        yield f"{prefix}.{leaf}"


def timm_vit(blocks: int) -> Iterator[str]:
    yield from ("cls_token", "pos_embed")
    for layer in ("patch_embed.proj", "norm", "head"):
        yield from each(layer, AFFINE)
    for i in range(blocks):
        for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"):
            yield from each(f"blocks.{i}.{layer}", AFFINE)


def timm_regnet(depths: tuple[int, ...], se: bool) -> Iterator[str]:
    yield "stem.conv.weight"
    yield from each("stem.bn", NORM)
    yield from each("head.fc", AFFINE)
    for stage, depth in enumerate(depths, start=1):
        for block in range(1, depth + 1):
            for layer in ("conv1", "conv2", "conv3", *(("downsample",) if block == 1 else ())):
                yield f"s{stage}.b{block}.{layer}.conv.weight"
                yield from each(f"s{stage}.b{block}.{layer}.bn", NORM)
            if se:
                yield from each(f"s{stage}.b{block}.se.fc1", AFFINE)
                yield from each(f"s{stage}.b{block}.se.fc2", AFFINE)


def timm_vgg16() -> Iterator[str]:
    for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        yield from each(f"features.{index}", AFFINE)
    for layer in ("pre_logits.fc1", "pre_logits.fc2", "head.fc"):
        yield from each(layer, AFFINE)


def transformers_resnet(family: str, depths: tuple[int, ...], layers: int, projected: tuple[int, ...]) -> Iterator[str]:
    """ResNet and RegNet X: stages with a projection in the first block of those that are `projected`."""
    for layer in ("embedder.embedder", *(f"encoder.stages.{s}.layers.0.shortcut" for s in projected)):
        yield f"{family}.{layer}.convolution.weight"
        yield from each(f"{family}.{layer}.normalization", NORM)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            for number in range(layers):
                prefix = f"{family}.encoder.stages.{stage}.layers.{block}.layer.{number}"
                yield f"{prefix}.convolution.weight"
                yield from each(f"{prefix}.normalization", NORM)
    yield from each("classifier.1", AFFINE)


def transformers_regnet_y(depths: tuple[int, ...]) -> Iterator[str]:
    """As X, with an attention between the second and the last convolution."""
    for name in transformers_resnet("regnet", depths, 3, (0, 1, 2, 3)):
        if ".layer.2.convolution" in name:
            for layer in ("attention.0", "attention.2"):
                yield from each(name.replace("convolution.weight", layer), AFFINE)
        yield name.replace(".layer.2.", ".layer.3.")


def transformers_vit(blocks: int, style: str) -> Iterator[str]:
    """In the files of every version, and in the memory of version 5."""
    three = ("attention.attention.query", "attention.attention.key", "attention.attention.value")
    in_file = (*three, "attention.output.dense", "intermediate.dense", "output.dense")
    in_memory = ("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2")
    yield from ("vit.embeddings.cls_token", "vit.embeddings.position_embeddings")
    for layer in ("vit.embeddings.patch_embeddings.projection", "vit.layernorm", "classifier"):
        yield from each(layer, AFFINE)
    for i in range(blocks):
        prefix = f"vit.encoder.layer.{i}" if style == "file" else f"vit.layers.{i}"
        for layer in ("layernorm_before", "layernorm_after", *(in_file if style == "file" else in_memory)):
            yield from each(f"{prefix}.{layer}", AFFINE)


def transformers_gpt(
    embeddings: tuple[str, ...], after: tuple[str, ...], prefix: str = "transformer."
) -> Iterator[str]:
    """GPT-2 has a norm behind its blocks; a file without the prefix is that of the trunk, and has no head."""
    for layer in embeddings:
        yield f"{prefix}{layer}.weight"
    for i in range(12):
        for layer in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"):
            yield from each(f"{prefix}h.{i}.{layer}", AFFINE)
    for layer in after:
        yield from each(f"{prefix}{layer}", AFFINE)
    if prefix:
        yield "lm_head.weight"


def old_densenet() -> Iterator[str]:
    for name in state_of(densenet121):
        for kind in ("norm", "conv"):
            for index in ("1", "2"):
                if "denselayer" in name:
                    name = name.replace(f".{kind}{index}.", f".{kind}.{index}.")
        yield name


def old_vit() -> Iterator[str]:
    for name in state_of(vit_ti_16):
        yield name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2.")


FOREIGN = [
    ("timm vit", vit_ti_16, list(timm_vit(12))),
    ("timm regnet", regnetx_200mf, list(timm_regnet((1, 1, 4, 7), se=False))),
    ("timm regnet", regnety_400mf, list(timm_regnet((1, 3, 6, 6), se=True))),
    ("timm vgg", vgg16, list(timm_vgg16())),
    ("transformers resnet", resnet18, list(transformers_resnet("resnet", (2, 2, 2, 2), 2, (1, 2, 3)))),
    ("transformers resnet", resnet50, list(transformers_resnet("resnet", (3, 4, 6, 3), 3, (0, 1, 2, 3)))),
    ("transformers regnet", regnetx_200mf, list(transformers_resnet("regnet", (1, 1, 4, 7), 3, (0, 1, 2, 3)))),
    ("transformers regnet", regnety_400mf, list(transformers_regnet_y((1, 3, 6, 6)))),
    ("transformers vit", vit_ti_16, list(transformers_vit(12, "file"))),
    ("transformers vit", vit_l_16, list(transformers_vit(24, "memory"))),
    ("torchvision, first releases", densenet121, list(old_densenet())),
    ("torchvision, first releases", vit_ti_16, list(old_vit())),
    ("transformers gpt", gpt1, list(transformers_gpt(("tokens_embed", "positions_embed"), ()))),
    ("transformers gpt", gpt2, list(transformers_gpt(("wte", "wpe"), ("ln_f",)))),
    ("transformers gpt", gpt2, list(transformers_gpt(("wte", "wpe"), ("ln_f",), prefix=""))),
]


@pytest.mark.parametrize(("naming", "build", "names"), FOREIGN)
def test_every_tensor_of_the_model_is_found(naming: str, build: Builder, names: list[str]) -> None:
    own = state_of(build)
    assert recognise(names, own) == naming
    assert set(convert({name: torch.zeros(1) for name in names}, own)) == set(own)


@pytest.mark.parametrize(
    "build", [resnet18, resnext50_32x4d, regnety_400mf, vgg11, densenet121, googlenet_tv, vit_ti_16]
)
def test_own_names_stay(build: Builder) -> None:
    """torchvision's, and timm's for ResNets, ResNeXts and DenseNets."""
    own = state_of(build)
    assert recognise(own, own) == "own"
    assert list(convert(own, own).items()) == list(own.items())


@pytest.mark.parametrize(
    ("naming", "foreign", "expected"),
    [
        (0, "blocks.11.attn.proj.bias", "encoder.layers.encoder_layer_11.self_attention.out_proj.bias"),
        (0, "norm.weight", "encoder.ln.weight"),
        (2, "s3.b2.conv2.bn.running_var", "trunk_output.block3.block3-1.f.b.1.running_var"),
        (2, "s1.b1.downsample.conv.weight", "trunk_output.block1.block1-0.proj.0.weight"),
        (2, "s4.b6.se.fc2.bias", "trunk_output.block4.block4-5.f.se.fc2.bias"),
        (3, "pre_logits.fc2.bias", "classifier.3.bias"),
        (5, "resnet.encoder.stages.2.layers.5.layer.1.normalization.bias", "layer3.5.bn2.bias"),
        (5, "resnet.encoder.stages.0.layers.0.shortcut.convolution.weight", "layer1.0.downsample.0.weight"),
        (7, "regnet.encoder.stages.1.layers.2.layer.3.convolution.weight", "trunk_output.block2.block2-2.f.c.0.weight"),
        (8, "vit.encoder.layer.7.intermediate.dense.bias", "encoder.layers.encoder_layer_7.mlp.0.bias"),
        (8, "vit.encoder.layer.7.layernorm_after.bias", "encoder.layers.encoder_layer_7.ln_2.bias"),
        (9, "vit.layers.7.mlp.fc2.weight", "encoder.layers.encoder_layer_7.mlp.3.weight"),
        (
            10,
            "features.denseblock3.denselayer24.norm.2.running_mean",
            "features.denseblock3.denselayer24.norm2.running_mean",
        ),
        (12, "transformer.tokens_embed.weight", "embedding.weight"),
        (12, "transformer.h.11.ln_1.weight", "blocks.11.add_attention.norm.weight"),
        (13, "transformer.h.0.mlp.c_proj.bias", "blocks.0.feed_forward.linear2.bias"),
        (14, "ln_f.bias", "norm.bias"),
    ],
)
def test_a_tensor_goes_to_its_place_without_a_copy(naming: int, foreign: str, expected: str) -> None:
    _, build, names = FOREIGN[naming]
    tensors = {name: torch.zeros(1) for name in names}
    assert convert(tensors, state_of(build))[expected] is tensors[foreign]


@pytest.mark.parametrize("style", ["file", "memory"])
def test_queries_keys_and_values_are_stacked(style: str) -> None:
    words = {"file": "encoder.layer.3.attention.attention.{}", "memory": "layers.3.attention.{}"}[style]
    parts = {"file": ("query", "key", "value"), "memory": ("q_proj", "k_proj", "v_proj")}[style]
    tensors = {name: torch.zeros(192) for name in transformers_vit(12, style)}
    backwards = list(enumerate(parts))[::-1]
    for number, part in backwards:
        tensors[f"vit.{words.format(part)}.weight"] = torch.full((192, 192), float(number))
    made = convert(tensors, state_of(vit_ti_16))["encoder.layers.encoder_layer_3.self_attention.in_proj_weight"]
    assert torch.equal(made, torch.arange(3.0).repeat_interleave(192)[:, None].expand(-1, 192))


def test_a_part_alone_passes_through() -> None:
    tensors = {name: torch.zeros(192) for name in transformers_vit(12, "file")}
    alone = "vit.encoder.layer.3.attention.attention.query.weight"
    del tensors["vit.encoder.layer.3.attention.attention.key.weight"]
    tensors["vit.encoder.layer.4.attention.attention.key.weight"] = torch.zeros(7)
    made = convert(tensors, state_of(vit_ti_16))
    assert made[alone] is tensors[alone]
    assert "vit.encoder.layer.4.attention.attention.value.weight" in made
    assert not any("encoder_layer_3.self_attention.in_proj_weight" in name or "#" in name for name in made)


def test_matrices_of_a_gpt_are_turned_and_its_positions_get_a_first_axis() -> None:
    """Hugging Face's Conv1D is x W + b with W (in, out); nothing is copied."""
    tensors = {name: torch.zeros(768) for name in transformers_gpt(("wte", "wpe"), ("ln_f",))}
    tensors["transformer.h.5.attn.c_attn.weight"] = torch.randn(768, 2304)
    tensors["transformer.wpe.weight"] = torch.randn(1024, 768)
    tensors["transformer.h.5.mlp.c_fc.weight"] = torch.zeros(2, 3, 4)  # of no use, but no reason to fail
    made = convert(tensors, state_of(gpt2))
    weight, positions = made["blocks.5.attention.in_proj_weight"], made["positions.weight"]
    assert torch.equal(weight, tensors["transformer.h.5.attn.c_attn.weight"].T)
    assert torch.equal(positions, tensors["transformer.wpe.weight"][None])
    assert weight.data_ptr() == tensors["transformer.h.5.attn.c_attn.weight"].data_ptr()
    assert made["blocks.5.feed_forward.linear1.weight"].shape == (2, 3, 4)


def test_tied_tensors_are_found_under_all_their_names() -> None:
    tokens = torch.randn(5, 3)
    assert convert({"wte.weight": tokens}, state_of(gpt2)).keys() == {"embedding.weight", "head.weight"}
    assert convert({"lm_head.weight": tokens}, state_of(gpt2))["embedding.weight"] is tokens
    untied = state_of(lambda: transformer_lm(tied=False))
    assert convert({"wte.weight": tokens}, untied).keys() == {"embedding.weight"}


def test_convolutions_of_timm_s_vgg_become_matrices() -> None:
    """The 7 x 7 convolution over the last map is the linear layer on the map's values, channel by channel."""
    own = state_of(vgg16)
    tensors = {name: torch.zeros(1) for name in timm_vgg16()}
    tensors["pre_logits.fc1.weight"] = torch.randn(5, 512, 7, 7, dtype=torch.float64)
    made = convert(tensors, own)["classifier.0.weight"]
    assert made.shape == (5, 25088)
    assert made.data_ptr() == tensors["pre_logits.fc1.weight"].data_ptr()
    x = torch.randn(2, 512, 7, 7, dtype=torch.float64)
    expected = nn.functional.conv2d(x, tensors["pre_logits.fc1.weight"]).flatten(1)
    torch.testing.assert_close(x.flatten(1) @ made.T, expected)


def test_the_backbone_without_a_head_and_its_prefix() -> None:
    """What AutoModel saves."""
    names = [name.removeprefix("vit.") for name in transformers_vit(12, "file") if "classifier" not in name]
    own = state_of(vit_ti_16)
    made = convert({name: torch.zeros(1) for name in [*names, "pooler.dense.weight"]}, own)
    assert set(own) - set(made) == {"heads.head.weight", "heads.head.bias"}
    assert set(made) - set(own) == {"pooler.dense.weight"}


def test_unknown_names_pass_through() -> None:
    tensors = {
        "a.weight": torch.zeros(1),
        "b#0": torch.zeros(()),
        "s9999999.b0.se.x": torch.zeros(1),
        "": torch.ones(1),
    }
    assert recognise(tensors, state_of(resnet18)) == "own"
    assert convert(tensors, state_of(resnet18)) == tensors
    mixed = {name: torch.zeros(1) for name in transformers_resnet("resnet", (2, 2, 2, 2), 2, (1, 2, 3))} | tensors
    made = convert(mixed, state_of(resnet18))
    assert all(made[name] is tensor for name, tensor in tensors.items())

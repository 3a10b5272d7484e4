"""Weights under the names of other libraries, renamed into the model's own, which are torchvision's of today.

A rule is the beginning of a foreign name and what it becomes; the rest of the name stays.  {i} stands for a number and
{i+1} for the next one.  A rule that does not end in a dot is for a whole name.  #0, #1 and #2 at the end of a name say
that the foreign tensor is the first, second or third part of the model's.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

import torch
from torch import Tensor

Rules = tuple[tuple[str, str], ...]
PARTS = ("0", "1", "2")

_VIT = "encoder.layers.encoder_layer_{i}."
_REGNET = "trunk_output.block{i+1}.block{i+1}-{j}."

_TORCHVISION_OLD: Rules = (
    ("encoder.layers.encoder_layer_{i}.mlp.linear_1.", _VIT + "mlp.0."),
    ("encoder.layers.encoder_layer_{i}.mlp.linear_2.", _VIT + "mlp.3."),
    ("features.denseblock{i}.denselayer{j}.norm.{k}.", "features.denseblock{i}.denselayer{j}.norm{k}."),
    ("features.denseblock{i}.denselayer{j}.conv.{k}.", "features.denseblock{i}.denselayer{j}.conv{k}."),
)
_TIMM_VIT: Rules = (
    ("cls_token", "class_token"),
    ("pos_embed", "encoder.pos_embedding"),
    ("patch_embed.proj.", "conv_proj."),
    ("blocks.{i}.norm1.", _VIT + "ln_1."),
    ("blocks.{i}.attn.qkv.weight", _VIT + "self_attention.in_proj_weight"),
    ("blocks.{i}.attn.qkv.bias", _VIT + "self_attention.in_proj_bias"),
    ("blocks.{i}.attn.proj.", _VIT + "self_attention.out_proj."),
    ("blocks.{i}.norm2.", _VIT + "ln_2."),
    ("blocks.{i}.mlp.fc1.", _VIT + "mlp.0."),
    ("blocks.{i}.mlp.fc2.", _VIT + "mlp.3."),
    ("norm.", "encoder.ln."),
    ("head.", "heads.head."),
)
_TIMM_VGG: Rules = (
    ("pre_logits.fc1.", "classifier.0."),
    ("pre_logits.fc2.", "classifier.3."),
    ("head.fc.", "classifier.6."),
)
_TIMM_BLOCK = "trunk_output.block{i}.block{i}-{j-1}."
_TIMM_REGNET: Rules = (
    ("stem.conv.", "stem.0."),
    ("stem.bn.", "stem.1."),
    ("s{i}.b{j}.downsample.conv.", _TIMM_BLOCK + "proj.0."),
    ("s{i}.b{j}.downsample.bn.", _TIMM_BLOCK + "proj.1."),
    ("s{i}.b{j}.conv1.conv.", _TIMM_BLOCK + "f.a.0."),
    ("s{i}.b{j}.conv1.bn.", _TIMM_BLOCK + "f.a.1."),
    ("s{i}.b{j}.conv2.conv.", _TIMM_BLOCK + "f.b.0."),
    ("s{i}.b{j}.conv2.bn.", _TIMM_BLOCK + "f.b.1."),
    ("s{i}.b{j}.se.", _TIMM_BLOCK + "f.se."),
    ("s{i}.b{j}.conv3.conv.", _TIMM_BLOCK + "f.c.0."),
    ("s{i}.b{j}.conv3.bn.", _TIMM_BLOCK + "f.c.1."),
    ("head.fc.", "fc."),
)
_HF_RESNET: Rules = (
    ("embedder.embedder.convolution.", "conv1."),
    ("embedder.embedder.normalization.", "bn1."),
    ("encoder.stages.{i}.layers.{j}.shortcut.convolution.", "layer{i+1}.{j}.downsample.0."),
    ("encoder.stages.{i}.layers.{j}.shortcut.normalization.", "layer{i+1}.{j}.downsample.1."),
    ("encoder.stages.{i}.layers.{j}.layer.{k}.convolution.", "layer{i+1}.{j}.conv{k+1}."),
    ("encoder.stages.{i}.layers.{j}.layer.{k}.normalization.", "layer{i+1}.{j}.bn{k+1}."),
    ("classifier.1.", "fc."),
)
_HF_REGNET: Rules = (
    ("embedder.embedder.convolution.", "stem.0."),
    ("embedder.embedder.normalization.", "stem.1."),
    ("encoder.stages.{i}.layers.{j}.shortcut.convolution.", _REGNET + "proj.0."),
    ("encoder.stages.{i}.layers.{j}.shortcut.normalization.", _REGNET + "proj.1."),
    ("encoder.stages.{i}.layers.{j}.layer.0.convolution.", _REGNET + "f.a.0."),
    ("encoder.stages.{i}.layers.{j}.layer.0.normalization.", _REGNET + "f.a.1."),
    ("encoder.stages.{i}.layers.{j}.layer.1.convolution.", _REGNET + "f.b.0."),
    ("encoder.stages.{i}.layers.{j}.layer.1.normalization.", _REGNET + "f.b.1."),
    ("encoder.stages.{i}.layers.{j}.layer.2.attention.0.", _REGNET + "f.se.fc1."),
    ("encoder.stages.{i}.layers.{j}.layer.2.attention.2.", _REGNET + "f.se.fc2."),
    ("encoder.stages.{i}.layers.{j}.layer.{k}.convolution.", _REGNET + "f.c.0."),  # 2, or 3 after an attention
    ("encoder.stages.{i}.layers.{j}.layer.{k}.normalization.", _REGNET + "f.c.1."),
    ("classifier.1.", "fc."),
)
_HF_VIT_ENDS: Rules = (
    ("embeddings.cls_token", "class_token"),
    ("embeddings.position_embeddings", "encoder.pos_embedding"),
    ("embeddings.patch_embeddings.projection.", "conv_proj."),
    ("layernorm.", "encoder.ln."),
    ("classifier.", "heads.head."),
)
_HF_VIT_FILE: Rules = (
    ("encoder.layer.{i}.layernorm_before.", _VIT + "ln_1."),
    ("encoder.layer.{i}.attention.attention.query.weight", _VIT + "self_attention.in_proj_weight#0"),
    ("encoder.layer.{i}.attention.attention.key.weight", _VIT + "self_attention.in_proj_weight#1"),
    ("encoder.layer.{i}.attention.attention.value.weight", _VIT + "self_attention.in_proj_weight#2"),
    ("encoder.layer.{i}.attention.attention.query.bias", _VIT + "self_attention.in_proj_bias#0"),
    ("encoder.layer.{i}.attention.attention.key.bias", _VIT + "self_attention.in_proj_bias#1"),
    ("encoder.layer.{i}.attention.attention.value.bias", _VIT + "self_attention.in_proj_bias#2"),
    ("encoder.layer.{i}.attention.output.dense.", _VIT + "self_attention.out_proj."),
    ("encoder.layer.{i}.layernorm_after.", _VIT + "ln_2."),
    ("encoder.layer.{i}.intermediate.dense.", _VIT + "mlp.0."),
    ("encoder.layer.{i}.output.dense.", _VIT + "mlp.3."),
)
_HF_VIT_MODEL: Rules = (
    ("layers.{i}.layernorm_before.", _VIT + "ln_1."),
    ("layers.{i}.attention.q_proj.weight", _VIT + "self_attention.in_proj_weight#0"),
    ("layers.{i}.attention.k_proj.weight", _VIT + "self_attention.in_proj_weight#1"),
    ("layers.{i}.attention.v_proj.weight", _VIT + "self_attention.in_proj_weight#2"),
    ("layers.{i}.attention.q_proj.bias", _VIT + "self_attention.in_proj_bias#0"),
    ("layers.{i}.attention.k_proj.bias", _VIT + "self_attention.in_proj_bias#1"),
    ("layers.{i}.attention.v_proj.bias", _VIT + "self_attention.in_proj_bias#2"),
    ("layers.{i}.attention.o_proj.", _VIT + "self_attention.out_proj."),
    ("layers.{i}.layernorm_after.", _VIT + "ln_2."),
    ("layers.{i}.mlp.fc1.", _VIT + "mlp.0."),
    ("layers.{i}.mlp.fc2.", _VIT + "mlp.3."),
)

# A prefix that all names but the head's may have, and the rules.  timm's ResNets, ResNeXts and DenseNets are under
# torchvision's names.  transformers writes a ViT to a file under other names than its modules have from version 5 on.
NAMINGS: dict[str, tuple[str, Rules]] = {
    "own": ("", ()),
    "torchvision, first releases": ("", _TORCHVISION_OLD),
    "timm vit": ("", _TIMM_VIT),
    "timm vgg": ("", _TIMM_VGG),
    "timm regnet": ("", _TIMM_REGNET),
    "transformers resnet": ("resnet.", _HF_RESNET),
    "transformers regnet": ("regnet.", _HF_REGNET),
    "transformers vit": ("vit.", _HF_VIT_ENDS + _HF_VIT_FILE + _HF_VIT_MODEL),
}


def convert(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the model's own names; names that are not known pass through unchanged.

    No data is copied, except where several foreign tensors are one of the model's.  The weight of a convolution that
    covers the whole map becomes the matrix of a linear layer, where the model has one.

    Args:
        tensors: what a weight file holds.
        own: the state of the model that takes them.
    """
    naming = recognise(tensors, own)
    converted: dict[str, Tensor] = {}
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    for name, tensor in tensors.items():
        new = rename(name, naming)
        whole, _, part = new.rpartition("#")
        if new != name and part in PARTS:
            parts[whole][part] = name
        else:
            flat = tensor.ndim == 4 and new in own and own[new].ndim == 2
            converted[new] = tensor.flatten(1) if flat else tensor
    for new, names in parts.items():
        found = [tensors[names[part]] for part in sorted(names)]
        if len(found) == len(PARTS) and found[0].ndim and len({part.shape for part in found}) == 1:
            converted[new] = torch.cat(found)
        else:
            converted |= {name: tensors[name] for name in names.values()}
    return converted


def recognise(names: Iterable[str], own: Iterable[str]) -> str:
    """The naming of `NAMINGS` under which most names are the model's; "own" if no other does better.

    Args:
        names: of foreign tensors.
        own: of the model's tensors.
    """
    names, known = list(names), set(own)

    def fits(naming: str) -> int:
        return len({rename(name, naming).partition("#")[0] for name in names} & known)

    return max(NAMINGS, key=fits)  # the first of several


def rename(name: str, naming: str) -> str:
    """The model's own name for a tensor that has `name` in a naming of `NAMINGS`; `name` where no rule is for it."""
    prefix, rules = NAMINGS[naming]
    bare = name.removeprefix(prefix)
    for start, target in rules:
        if match := _pattern(start).match(bare):
            numbers = {key: int(digits) for key, digits in match.groupdict().items()}
            return _fill(target, numbers) + bare[match.end() :]
    return name


@cache
def _pattern(start: str) -> re.Pattern[str]:
    text = re.sub(r"\\\{(\w)\\\}", r"(?P<\1>[0-9]{1,4})", re.escape(start))
    return re.compile(text if start.endswith(".") else text + r"\Z")


def _fill(target: str, numbers: Mapping[str, int]) -> str:
    return re.sub(r"\{(\w)([+-]1)?\}", lambda field: str(numbers[field[1]] + int(field[2] or 0)), target)

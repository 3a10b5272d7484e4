"""Vision models under the names of timm, of transformers and of torchvision's first releases.

Our own names are torchvision's of today.  timm's ResNets, ResNeXts and DenseNets are under these, too.  transformers
writes a ViT to a file under other names than its modules have from version 5 on.
"""

from d2lcli.training.namings import Naming, Rules

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

NAMINGS: dict[str, Naming] = {
    "torchvision, first releases": ("", _TORCHVISION_OLD),
    "timm vit": ("", _TIMM_VIT),
    "timm vgg": ("", _TIMM_VGG),
    "timm regnet": ("", _TIMM_REGNET),
    "transformers resnet": ("resnet.", _HF_RESNET),
    "transformers regnet": ("regnet.", _HF_REGNET),
    "transformers vit": ("vit.", _HF_VIT_ENDS + _HF_VIT_FILE + _HF_VIT_MODEL),
}

"""Vision Transformers (Dosovitskiy et al., 2021; d2l 11.8).

The layout and the names and shapes of all tensors are torchvision's; `vit` has the sizes and dropouts of the book.

n examples, c channels, s the side of the square image, p the side of a patch, t = (s / p)^2 patches, d the width of a
token, q classes.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from d2lcli.nn.attention import MultiHeadAttention
from d2lcli.nn.checks import require_positive


@dataclass(frozen=True)
class Dropout:
    """The probability that a value is zeroed in training, by the place where it stands.

    Args:
        embedding: tokens with their positions added.
        attention: attention weights.
        attended: the outputs of the attention.
        mlp: the hidden units and the outputs of the two-layer network.
    """

    embedding: float = 0.0
    attention: float = 0.0
    attended: float = 0.0
    mlp: float = 0.0


class PatchEmbedding(nn.Conv2d):
    """One matrix for all p x p patches: a convolution of kernel and stride p.  (n, c, s, s) -> (n, t, d).

    Args:
        in_channels: c.
        dim: d.
        patch_size: p, which divides s.
    """

    def __init__(self, in_channels: int, dim: int, patch_size: int) -> None:
        super().__init__(in_channels, dim, patch_size, stride=patch_size)
        nn.init.trunc_normal_(self.weight, std=(in_channels * patch_size**2) ** -0.5)
        nn.init.zeros_(self.get_parameter("bias"))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).flatten(2).transpose(1, 2)


class EncoderBlock(nn.Module):
    """y = x + attention(norm(x)), then y + mlp(norm(y)): norms stand first, in the branches.  (n, t, d) -> (n, t, d).

    Args:
        dim: d.
        mlp_dim: hidden units of the two-layer network, which is applied to each token alone.
        num_heads: heads of the attention; they divide d.
        bias: whether the projections of the attention have biases.
        norm_eps: what the norms add to the variance.
        dropout: the probabilities.
    """

    def __init__(
        self, dim: int, mlp_dim: int, num_heads: int, *, bias: bool, norm_eps: float, dropout: Dropout
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, norm_eps)
        self.self_attention = MultiHeadAttention(dim, num_heads, bias=bias, dropout=dropout.attention)
        self.dropout = nn.Dropout(dropout.attended)
        self.ln_2 = nn.LayerNorm(dim, norm_eps)
        widen, narrow = nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)  # (n, t, d) -> (n, t, mlp_dim) -> (n, t, d)
        for layer in (widen, narrow):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)
        self.mlp = nn.Sequential(widen, nn.GELU(), nn.Dropout(dropout.mlp), narrow, nn.Dropout(dropout.mlp))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.dropout(self.self_attention(normed, normed, normed))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Encoder(nn.Module):
    """Learned positions are added, the blocks follow, and a last norm.  (n, t, d) -> (n, t, d).

    Args:
        num_tokens: t, the class token included.
        dim: d.
        blocks: one after the other.
        norm_eps: what the last norm adds to the variance.
        dropout: the probability for tokens with their positions.
    """

    def __init__(self, num_tokens: int, dim: int, blocks: list[EncoderBlock], norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, num_tokens, dim).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            OrderedDict((f"encoder_layer_{index}", block) for index, block in enumerate(blocks))
        )
        self.ln = nn.LayerNorm(dim, norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        encoded: Tensor = self.ln(self.layers(self.dropout(tokens + self.pos_embedding)))
        return encoded


class VisionTransformer(nn.Module):
    """Patches and a class token in front of them go through the encoder; a linear layer reads the class token.

    The initial weights are torchvision's except for the head's.

    Args:
        image_size: s.
        patch_size: p, which divides s.
        in_channels: c.
        num_classes: q.
        dim: d.
        mlp_dim: hidden units of each block's two-layer network.
        num_heads: heads of each attention; they divide d.
        num_blocks: how many blocks.
        bias: whether the projections of the attention have biases.
        norm_eps: what the norms add to the variance.
        dropout: the probabilities.

    Raises:
        ValueError: a size is below 1, the patches do not tile the image, the heads do not divide d, or a probability is
            outside [0, 1].
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        in_channels: int,
        num_classes: int,
        dim: int,
        mlp_dim: int,
        num_heads: int,
        num_blocks: int,
        bias: bool = True,
        norm_eps: float = 1e-6,
        dropout: Dropout = Dropout(),
    ) -> None:
        require_positive(
            image_size=image_size,
            patch_size=patch_size,
            in_channels=in_channels,
            num_classes=num_classes,
            dim=dim,
            mlp_dim=mlp_dim,
            num_heads=num_heads,
            num_blocks=num_blocks,
        )
        if image_size % patch_size:
            raise ValueError(f"image_size must be a multiple of patch_size {patch_size}, but it is {image_size}.")
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.conv_proj = PatchEmbedding(in_channels, dim, patch_size)
        blocks = [
            EncoderBlock(dim, mlp_dim, num_heads, bias=bias, norm_eps=norm_eps, dropout=dropout)
            for _ in range(num_blocks)
        ]
        self.encoder = Encoder((image_size // patch_size) ** 2 + 1, dim, blocks, norm_eps, dropout.embedding)
        head = nn.Linear(dim, num_classes)
        # torchvision has zeros, under which nothing but the head gets a gradient at the first step
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
        self.heads = nn.Sequential(OrderedDict(head=head))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv_proj(images)  # (n, t, d)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)  # (n, t + 1, d)
        first = self.encoder(tokens)[:, 0]  # (n, d)
        logits: Tensor = self.heads(first)  # (n, q)
        return logits


def vit(
    *,
    in_channels: int = 1,
    num_classes: int = 10,
    image_size: int = 96,
    patch_size: int = 16,
    dim: int = 512,
    mlp_dim: int = 2048,
    num_heads: int = 8,
    num_blocks: int = 2,
    bias: bool = False,
    embedding_dropout: float = 0.1,
    block_dropout: float = 0.1,
) -> nn.Module:
    """The book's Vision Transformer: 6,457,866 parameters by default.

    Args:
        in_channels, num_classes, image_size, patch_size, dim, mlp_dim, num_heads, num_blocks, bias: as in
            `VisionTransformer`.
        embedding_dropout: the probability for tokens with their positions.
        block_dropout: the probability for attention weights and for the units of the two-layer networks.
    """
    return VisionTransformer(
        image_size=image_size,
        patch_size=patch_size,
        in_channels=in_channels,
        num_classes=num_classes,
        dim=dim,
        mlp_dim=mlp_dim,
        num_heads=num_heads,
        num_blocks=num_blocks,
        bias=bias,
        norm_eps=1e-5,
        dropout=Dropout(embedding=embedding_dropout, attention=block_dropout, mlp=block_dropout),
    )


# The paper's table 1, and Touvron et al. (2021) for Ti: width, hidden units, heads, blocks.
SIZES = {"ti": (192, 768, 3, 12), "s": (384, 1536, 6, 12), "b": (768, 3072, 12, 12), "l": (1024, 4096, 16, 24)}


def _vit(
    size: str,
    patch_size: int,
    in_channels: int,
    num_classes: int,
    image_size: int,
    dropout: float,
    attention_dropout: float,
) -> nn.Module:
    """A Vision Transformer of the paper.

    Args:
        size: a key of `SIZES`.
        patch_size, in_channels, num_classes, image_size: as in `VisionTransformer`.
        dropout: the probability everywhere but for attention weights; the paper takes 0.1 to train from scratch.
        attention_dropout: the probability for attention weights.
    """
    dim, mlp_dim, num_heads, num_blocks = SIZES[size]
    return VisionTransformer(
        image_size=image_size,
        patch_size=patch_size,
        in_channels=in_channels,
        num_classes=num_classes,
        dim=dim,
        mlp_dim=mlp_dim,
        num_heads=num_heads,
        num_blocks=num_blocks,
        dropout=Dropout(embedding=dropout, attention=attention_dropout, attended=dropout, mlp=dropout),
    )


def vit_ti_16(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> nn.Module:
    """ViT-Ti/16: 5,717,416 parameters, 1.254 billion multiply-adds at 224 x 224.  Arguments: see `_vit`."""
    return _vit("ti", 16, in_channels, num_classes, image_size, dropout, attention_dropout)


def vit_ti_32(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> nn.Module:
    """ViT-Ti/32: 6,131,560 parameters, 0.306 billion multiply-adds at 224 x 224.  Arguments: see `_vit`."""
    return _vit("ti", 32, in_channels, num_classes, image_size, dropout, attention_dropout)


def vit_s_16(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> nn.Module:
    """ViT-S/16: 22,050,664 parameters, 4.599 billion multiply-adds at 224 x 224.  Arguments: see `_vit`."""
    return _vit("s", 16, in_channels, num_classes, image_size, dropout, attention_dropout)


def vit_s_32(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> nn.Module:
    """ViT-S/32: 22,878,952 parameters, 1.143 billion multiply-adds at 224 x 224.  Arguments: see `_vit`."""
    return _vit("s", 32, in_channels, num_classes, image_size, dropout, attention_dropout)


def vit_b_16(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> nn.Module:
    """ViT-B/16: 86,567,656 parameters, 17.564 billion multiply-adds at 224 x 224.  Arguments: see `_vit`."""
    return _vit("b", 16, in_channels, num_classes, image_size, dropout, attention_dropout)


def vit_b_32(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> nn.Module:
    """ViT-B/32: 88,224,232 parameters, 4.409 billion multiply-adds at 224 x 224.  Arguments: see `_vit`."""
    return _vit("b", 32, in_channels, num_classes, image_size, dropout, attention_dropout)


def vit_l_16(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> nn.Module:
    """ViT-L/16: 304,326,632 parameters, 61.555 billion multiply-adds at 224 x 224.  Arguments: see `_vit`."""
    return _vit("l", 16, in_channels, num_classes, image_size, dropout, attention_dropout)


def vit_l_32(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> nn.Module:
    """ViT-L/32: 306,535,400 parameters, 15.378 billion multiply-adds at 224 x 224.  Arguments: see `_vit`."""
    return _vit("l", 32, in_channels, num_classes, image_size, dropout, attention_dropout)

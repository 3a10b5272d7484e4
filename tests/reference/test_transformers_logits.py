"""Our models with converted weights give the logits of Hugging Face transformers, from its files and from its memory.

Everything is built from a configuration with random weights: nothing is downloaded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from d2lcli.models.regnet import regnetx_200mf, regnety_400mf
from d2lcli.models.resnet import resnet18, resnet50
from d2lcli.models.vit import vit_s_32, vit_ti_16
from d2lcli.training.converters import convert

REASON = "transformers is not installed: pip install -c constraints.txt -e '.[slow]'"
pytestmark = pytest.mark.slow

RESNET_18 = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
REGNET_X = {"layer_type": "x", "hidden_sizes": [24, 56, 152, 368], "depths": [1, 1, 4, 7], "groups_width": 8}
REGNET_Y = {"layer_type": "y", "hidden_sizes": [48, 104, 208, 440], "depths": [1, 3, 6, 6], "groups_width": 8}
VIT_TI = {"hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3}
VIT_S = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "patch_size": 32}

CASES = [
    ("ResNet", RESNET_18, resnet18),
    ("ResNet", {}, resnet50),
    ("RegNet", REGNET_X, regnetx_200mf),
    ("RegNet", REGNET_Y, regnety_400mf),
    ("ViT", VIT_TI, vit_ti_16),
    ("ViT", VIT_S, vit_s_32),
]


def drawn(family: str, options: dict[str, Any]) -> nn.Module:
    """A model of transformers in which no two tensors are alike: norms, biases and running values are drawn, too."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(num_labels=10, **options)
    model: nn.Module = getattr(transformers, f"{family}ForImageClassification")(config).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.ndim == 1 and value.is_floating_point():
                value.uniform_(0.5, 1.5) if name.endswith(("weight", "running_var")) else value.normal_(std=0.5)
    return model


@pytest.mark.parametrize("source", ["memory", "file"])
@pytest.mark.parametrize(("family", "options", "build"), CASES, ids=[case[2].__name__ for case in CASES])
def test_logits(
    family: str, options: dict[str, Any], build: Callable[..., nn.Module], source: str, tmp_path: Path
) -> None:
    theirs, ours = drawn(family, options), build(num_classes=10).eval()
    tensors: dict[str, Tensor] = theirs.state_dict()
    if source == "file":
        theirs.save_pretrained(tmp_path)  # type: ignore[operator]
        tensors = load_file(tmp_path / "model.safetensors")
    ours.load_state_dict(convert(tensors, ours.state_dict()))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(images).logits
        assert expected.std() > 0.01
        torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-4)

"""Models by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
MODELS = Registry(
    "model",
    {
        "linear_regression": Entry("d2lcli.models.linear:linear_regression", "Linear regression: y = X w + b", task="regression", data="synthetic_regression", source="d2l 3"),
        "softmax_regression": Entry("d2lcli.models.linear:softmax_regression", "Softmax regression: one linear layer on the flattened image", task="classification", data="fashion_mnist_mini", optim="adamw", source="d2l 4"),
        "mlp": Entry("d2lcli.models.mlp:mlp", "Multilayer perceptron of any depth, with dropout", task="classification", data="fashion_mnist_mini", optim="adamw", source="d2l 5"),
        "lenet": Entry("d2lcli.models.lenet:lenet", "LeNet-5, as in the book or modern (relu, max pooling)", task="classification", data="fashion_mnist_mini", optim="adamw", min_image_size=12, source="LeCun et al., 1998"),
        "resnet18": Entry("d2lcli.models.resnet:resnet18", "ResNet-18, residual basic blocks", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="cosine", min_image_size=1, source="He et al., 2016"),
        "resnet34": Entry("d2lcli.models.resnet:resnet34", "ResNet-34, residual basic blocks", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="cosine", min_image_size=1, source="He et al., 2016"),
        "resnet50": Entry("d2lcli.models.resnet:resnet50", "ResNet-50, residual bottleneck blocks", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="cosine", min_image_size=1, source="He et al., 2016"),
        "resnet101": Entry("d2lcli.models.resnet:resnet101", "ResNet-101, residual bottleneck blocks", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="cosine", min_image_size=1, source="He et al., 2016"),
        "resnet152": Entry("d2lcli.models.resnet:resnet152", "ResNet-152, residual bottleneck blocks", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="cosine", min_image_size=1, source="He et al., 2016"),
        "vit": Entry("d2lcli.models.vit:vit", "Vision Transformer of the book's size", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=16, year=2021, depth=10, idea="attention between patches of an image", parameters=6_457_866, source="d2l 11.8"),
        "vit_ti_16": Entry("d2lcli.models.vit:vit_ti_16", "Vision Transformer Ti/16 on patches of 16 x 16", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=16, year=2021, depth=50, idea="attention between patches of an image", parameters=5_717_416, multiply_adds=1_260_000_000, source="Touvron et al., 2021"),
        "vit_ti_32": Entry("d2lcli.models.vit:vit_ti_32", "Vision Transformer Ti/32 on patches of 32 x 32", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=32, year=2021, depth=50, idea="attention between patches of an image", source="Touvron et al., 2021"),
        "vit_s_16": Entry("d2lcli.models.vit:vit_s_16", "Vision Transformer S/16 on patches of 16 x 16", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=16, year=2021, depth=50, idea="attention between patches of an image", parameters=22_050_664, multiply_adds=4_610_000_000, source="Touvron et al., 2021"),
        "vit_s_32": Entry("d2lcli.models.vit:vit_s_32", "Vision Transformer S/32 on patches of 32 x 32", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=32, year=2021, depth=50, idea="attention between patches of an image", parameters=22_878_952, multiply_adds=1_150_000_000, source="Touvron et al., 2021"),
        "vit_b_16": Entry("d2lcli.models.vit:vit_b_16", "Vision Transformer B/16 on patches of 16 x 16", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=16, year=2021, depth=50, idea="attention between patches of an image", parameters=86_567_656, multiply_adds=17_564_000_000, source="Dosovitskiy et al., 2021"),
        "vit_b_32": Entry("d2lcli.models.vit:vit_b_32", "Vision Transformer B/32 on patches of 32 x 32", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=32, year=2021, depth=50, idea="attention between patches of an image", parameters=88_224_232, multiply_adds=4_409_000_000, source="Dosovitskiy et al., 2021"),
        "vit_l_16": Entry("d2lcli.models.vit:vit_l_16", "Vision Transformer L/16 on patches of 16 x 16", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=16, year=2021, depth=98, idea="attention between patches of an image", parameters=304_326_632, multiply_adds=61_555_000_000, source="Dosovitskiy et al., 2021"),
        "vit_l_32": Entry("d2lcli.models.vit:vit_l_32", "Vision Transformer L/32 on patches of 32 x 32", task="classification", data="fashion_mnist_mini", optim="adamw", scheduler="warmup_cosine", min_image_size=32, year=2021, depth=98, idea="attention between patches of an image", parameters=306_535_400, multiply_adds=15_378_000_000, source="Dosovitskiy et al., 2021"),
    },
)

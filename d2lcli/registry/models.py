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
    },
)

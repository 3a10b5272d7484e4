"""Weight initialisers by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
INITIALIZERS = Registry(
    "init",
    {
        "normal": Entry("d2lcli.nn.initializers:normal", "Gaussian of mean 0"),
        "constant": Entry("d2lcli.nn.initializers:constant", "One value everywhere"),
        "zeros": Entry("d2lcli.nn.initializers:zeros", "All zero"),
        "ones": Entry("d2lcli.nn.initializers:ones", "All one"),
        "xavier_uniform": Entry("d2lcli.nn.initializers:xavier_uniform", "Uniform in +-gain sqrt(6 / (fan_in + fan_out))"),
        "xavier_normal": Entry("d2lcli.nn.initializers:xavier_normal", "Gaussian of variance gain^2 2 / (fan_in + fan_out)"),
        "kaiming_uniform": Entry("d2lcli.nn.initializers:kaiming_uniform", "Uniform of variance 2 / fan_in"),
        "kaiming_normal": Entry("d2lcli.nn.initializers:kaiming_normal", "Gaussian of variance 2 / fan_in"),
        "orthogonal": Entry("d2lcli.nn.initializers:orthogonal", "Orthogonal rows or columns, times gain", source="Saxe et al., 2014"),
        "cutoff_uniform": Entry("d2lcli.nn.initializers:cutoff_uniform", "Uniform, small weights set to 0: the book's own initialiser"),
        "per_layer": Entry("d2lcli.nn.initializers:per_layer", "An initialiser for each layer by its name"),
    },
)

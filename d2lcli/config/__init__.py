"""Find, compose, check and explain configs.  The only room that imports Hydra, and only when it composes."""

from d2lcli.config.amendment import amend
from d2lcli.config.composition import compose, from_values
from d2lcli.config.explanation import Layer, differences, explain
from d2lcli.config.layers import Config
from d2lcli.config.yaml_text import dump_yaml, load_yaml

__all__ = ["Config", "Layer", "amend", "compose", "differences", "dump_yaml", "explain", "from_values", "load_yaml"]

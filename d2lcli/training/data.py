"""The data set that a config asks for, with its tokenizers, and the loaders of its splits."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.environment import EpisodeLoader, EpisodeSplit, StateSplit
from d2lcli.data.examples import ExampleLoader, ExampleSplit
from d2lcli.data.folds import take_fold
from d2lcli.data.loader import Loader
from d2lcli.data.masked import MaskedLoader, MaskedSplit
from d2lcli.data.pairs import PairLoader, PairSplit
from d2lcli.data.spans import SpanLoader, SpanSplit
from d2lcli.data.windows import TextSplit, WindowLoader
from d2lcli.data.words import WordLoader, WordSplit
from d2lcli.errors import ConfigError
from d2lcli.parallel.single import Single
from d2lcli.registry import DATASETS, TASKS, TOKENIZERS
from d2lcli.registry.signatures import read_signature
from d2lcli.tasks.shift import covariate_weights
from d2lcli.training.parts import build_part
from d2lcli.training.tokens import Tokenizers, of_run, of_weights

LOADERS: dict[type[Split], type[Loader]] = {
    Split: Loader,
    TextSplit: WindowLoader,
    PairSplit: PairLoader,
    ExampleSplit: ExampleLoader,
    MaskedSplit: MaskedLoader,
    SpanSplit: SpanLoader,
    WordSplit: WordLoader,
    EpisodeSplit: EpisodeLoader,
    StateSplit: Loader,
}
# What a text is cut into, for a task that learns from its tokens but not to predict the next one; and what an example
# of an environment is, where it is not an episode.
OBJECTIVES = {
    "masked_language_model": {"objective": "masked"}, "sequence_to_sequence": {"objective": "span_corruption"},
    "word_embedding": {"objective": "words"}, "glove": {"objective": "cooccurrence"},
    "value_iteration": {"objective": "states"}, "policy_iteration": {"objective": "states"},
    "policy_evaluation": {"objective": "states"},
}  # fmt: skip
# The range of pixels where normalize is true, for a task that does not want the images' own mean and deviation.
RANGES = {"gan": "symmetric"}
LOADER = "d2lcli.data.loader:loader_options"


def chosen_tokenizers(values: Mapping[str, Any], stored: Path | None) -> Tokenizers | None:
    """The tokenizers of the run, or those of its weights where the config names none; else None."""
    found = of_run(stored) if stored is not None else None
    if found is None and values["weights"] is not None and values["data"].get("tokenizer", "") is None:
        return of_weights(values["weights"])
    return found


def build_data(values: Mapping[str, Any], tokenizers: Tokenizers | None = None) -> Dataset:
    """The data set, cut to `data.limit` examples a split.

    Args:
        values: a checked config.
        tokenizers: trained ones for its texts, in place of what the config says.
    """
    node = values["data"]
    loader_keys = read_signature(LOADER)
    options = {key: value for key, value in node.items() if key not in loader_keys}
    if "image_size" in DATASETS.parameters(node["name"]) and options.get("image_size") is None:
        options["image_size"] = values["model"].get("image_size")
    if options.get("normalize") is True:
        options["normalize"] = RANGES.get(values["task"]["name"], True)
    if "objective" in options and options["objective"] is None:
        del options["objective"]  # what the task does not decide is the builder's own
        options |= OBJECTIVES.get(values["task"]["name"], {})
    if tokenizers is not None and "tokenizer" in options:
        options["tokenizer"] = tokenizers.target
        if "source_tokenizer" in DATASETS.parameters(node["name"]):
            options["source_tokenizer"] = tokenizers.source
    elif (chosen := options.get("tokenizer")) is not None:
        options["tokenizer"] = build_part(TOKENIZERS, {"name": chosen} if isinstance(chosen, str) else chosen)
    dataset = _fold(options, values) if values["fold"] is not None else build_part(DATASETS, options)
    if node["limit"]:
        dataset = dataset.head(node["limit"])
    return dataset


def weigh_examples(dataset: Dataset) -> Dataset:
    """Give training examples importance weights where the data says in what domain the model will be used."""
    if dataset.deployed is None or not isinstance(dataset.train.inputs, Tensor):
        return dataset
    weights = covariate_weights(dataset.train.inputs, dataset.deployed)
    return replace(dataset, train=replace(dataset.train, weights=weights))


def shared_size(examples: int, size: int, processes: int) -> int:
    """The largest batch, up to `size`, with which each process has an example of every batch, the last one included.

    Raises:
        ConfigError: there is none.
    """
    for smaller in range(size, processes - 1, -1):
        if examples % smaller == 0 or examples % smaller >= processes:
            return smaller
    raise ConfigError(
        f"{processes} processes evaluate in step, but {examples} examples in batches of {size} are too few"
    )


def _fold(options: dict[str, Any], values: Mapping[str, Any]) -> Dataset:
    """One fold of a cross-validation: of all rows where the data set knows folds, else of its training split."""
    name, chosen = options["name"], {"folds": values["cv"], "fold": values["fold"]}
    if chosen.keys() <= DATASETS.parameters(name).keys():
        dataset: Dataset = build_part(DATASETS, options | chosen)
        return dataset
    try:
        return take_fold(build_part(DATASETS, options), **chosen, seed=values["seed"])
    except ValueError as error:
        raise ConfigError(f"cv={values['cv']} on data '{name}': {error}") from None


def make_loader(
    values: Mapping[str, Any],
    dataset: Dataset,
    split: str,
    device: torch.device,
    strategy: Single,
    *,
    training: bool = False,
) -> Loader:
    """The loader of a split: shuffled and augmented for training, in order and as it is for an evaluation.

    A task that is about all training examples at once has one batch of them, whatever `data.batch_size` says.

    Raises:
        ConfigError: the data set has no such split, or the batch does not fit the data.
    """
    node = values["data"]
    chosen = getattr(dataset, split, None)
    if chosen is None:
        raise ConfigError(f"data '{dataset.name}' has no split '{split}'", "use --split train or --split val")
    size = node["batch_size"] if training else min(node["eval_batch_size"], max(1, len(chosen)))
    if training and TASKS.describe(values["task"]["name"]).full_batch:
        size = max(1, len(chosen))
        if strategy.data_size > 1:
            problem = f"task '{values['task']['name']}' needs all examples in one process, not {strategy.data_size}"
            raise ConfigError(problem, "use strategy=single")
    if not training and strategy.in_step:
        size = shared_size(len(chosen), size, strategy.data_size)
    try:
        return LOADERS[type(chosen)](
            chosen,
            batch_size=size,
            seed=values["seed"],
            shuffle=training,
            drop_last=node["drop_last"] and training,
            sampler=node["sampler"] if training else "shuffle",
            rank=strategy.data_rank,
            world_size=strategy.data_size,
            device=device,
            workers=node["workers"],
            channels_last=values["hardware"]["channels_last"],
        )
    except ValueError as error:
        raise ConfigError(f"data '{dataset.name}': {split}: {error}") from None

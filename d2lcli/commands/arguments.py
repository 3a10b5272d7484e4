"""What the signatures of several commands share."""

from pathlib import Path
from typing import Annotated

import typer

CONTEXT = {"help_option_names": ["--help", "-h"], "max_content_width": 110}

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="What is computed: model=resnet18 optim.lr=0.1 epochs=20", show_default=False
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Read overrides from a YAML file; KEY=VALUE wins over it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]

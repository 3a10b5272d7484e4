"""Run folders written by hand, so that every number on a page is known, and a strict reader of pages."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

CONFIG = """seed: {seed}
monitor: null
model:
  name: {model}
  hidden: [8]
data:
  name: made_up
task:
  name: classification
  metrics: [accuracy]
optim:
  lr: {lr}
strategy:
  name: single
hardware:
  devices: 1
"""


def row(step: int, split: str, **values: Any) -> dict[str, Any]:
    return {"step": step, "epoch": step / 10, "split": split, "values": values, "seconds": step / 4}


def rows(steps: int = 40) -> list[dict[str, Any]]:
    """A training row each step, an evaluation each tenth; the best accuracy is .8125 at step 30."""
    found = []
    for step in range(1, steps + 1):
        found.append(row(step, "train", loss=2.0 / step, lr=0.1, grad_norm=1.0 + step % 3))
        if step % 10 == 0:
            found.append(row(step, "val", loss=2.5 / step, accuracy=0.8125 if step == 30 else 0.5 + step / 1000))
    return found


def make_run(
    folder: Path,
    log: list[dict[str, Any]] | None = None,
    *,
    result: dict[str, Any] | None = None,
    model: str = "mlp",
    lr: object = 0.1,
    seed: object = 0,
) -> Path:
    """A finished run, or, with an empty `result`, one that has none."""
    folder.mkdir(parents=True)
    log = rows() if log is None else log
    (folder / "config.yaml").write_text(CONFIG.format(model=model, lr=lr, seed=seed))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in log))
    meta = {
        "command": ["/usr/bin/d2l", "train", f"model={model}"],
        "seed": seed,
        "versions": {"torch": "2.13.0"},
        "data": {"name": "made_up", "found": "embedded", "sha256": {"/a/b/images.gz": "ab" * 32}},
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    if result is None:
        last = [each for each in log if each["split"] == "val"][-1]["values"]
        result = {
            "status": "finished", "metrics": last, "best": {"accuracy": 0.8125, "step": 30}, "steps": log[-1]["step"],
            "epochs": 4.0, "seconds": 12.5, "examples_per_second": 4321.0, "parameters": 123456,
            "device": "cpu", "precision": "fp32", "machine": {"share_of_peak": 0.37, "bound": "memory"},
        }  # fmt: skip
    if result:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


@dataclass
class Page(HTMLParser):
    """What a page holds.

    Attributes:
        links: every value of an attribute that a browser could load or go to.
        tags: how often each element occurs.
        words: all text, without that of style elements.
        titles: the texts of SVG tooltips.
        handlers: attributes that would run a script.
    """

    links: list[str] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
        if tag not in ("meta", "img", "br", "input", "path", "circle", "rect", "line"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self.stack and self.stack[-1] == tag:
            self.stack.pop()
        elif tag not in ("path", "circle", "rect"):
            raise AssertionError(f"</{tag}> closes {self.stack[-3:]}")

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.words.append(data)
        if self.stack[-1:] == ["title"] and "svg" in self.stack:
            self.titles.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read_page(html: str) -> Page:
    """Parse a page; every element that is opened is closed."""
    page = Page()
    page.feed(html)
    page.close()
    assert page.stack == [], page.stack
    return page


def assert_offline(page: Page, html: str) -> None:
    """Nothing is loaded from anywhere, and nothing runs."""
    assert all(link.startswith(("data:image/", "#")) for link in page.links), page.links
    assert page.handlers == []
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style and "http" not in style

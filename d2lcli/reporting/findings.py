"""What `d2l diagnose RUN --json` found, where its output lies in the run's folder."""

from collections.abc import Iterator
from typing import Any

from d2lcli.reporting.markup import text
from d2lcli.reporting.read import RunData

MOST = 30


def diagnoses(run: RunData) -> Iterator[str]:
    """The findings of each file that holds some, the gravest first as they stand there."""
    for file, document in run.documents.items():
        found = document.get("findings")
        rows = [_finding(each) for each in found[:MOST] if isinstance(each, dict)] if isinstance(found, list) else []
        if rows:
            step = document.get("step")
            title = f"{run.name}: {file}" + (f", step {step:,}" if isinstance(step, int) else "")
            yield f'<h3>{text(title)}</h3>\n<ul class="findings">{"".join(rows)}</ul>'


def _finding(found: dict[str, Any]) -> str:
    severity, advice = found.get("severity"), found.get("advice")
    kind = ' class="bad"' if isinstance(severity, int) and severity > 1 else ""
    tip = f'<br><span class="dim">try: {text(advice)}</span>' if advice else ""
    return f"<li{kind}>{text(found.get('text'))}{tip}</li>"

"""A report in a real browser, without a window: what it draws, and that it asks the network for nothing."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from made_runs import make_run, row
from PIL import Image

from d2lcli.__main__ import main

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (apt-get install chromium)")


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Show a page in a fresh profile; what the page and the browser say stands in stderr."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--hide-scrollbars", "--no-first-run", f"--user-data-dir={profile}", "--enable-logging=stderr"]
    done = subprocess.run([*command, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    other = [row(step, "train", loss=3.0 + step / 10, lr=0.5, grad_norm=5.0) for step in range(1, 41)]
    other += [row(step, "val", loss=4.0 + step / 10, accuracy=step / 100) for step in range(10, 50, 10)]
    runs = [make_run(folder / "first"), make_run(folder / "second", other, lr=0.5)]
    (runs[0] / "samples").mkdir()
    Image.new("RGB", (32, 32), (250, 10, 10)).save(runs[0] / "samples" / "red.png")
    assert main(["report", *map(str, runs), "--no-png", "--output", str(folder / "report.html")]) == 0
    return folder / "report.html"


def test_the_browser_builds_the_charts_and_has_nothing_to_complain_of(report: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.html"
    wrong.write_text("<!DOCTYPE html><script>nothing.here()</script>")
    assert "CONSOLE" in browse(wrong, tmp_path / "profile", "--dump-dom").stderr  # so errors are seen
    done = browse(report, tmp_path / "profile", "--dump-dom")
    assert done.stdout.count("<svg") == 4 * 3
    assert done.stdout.count('class="marked k1 d0 r1"') == 2 * 3  # loss and accuracy
    assert "CONSOLE" not in done.stderr


def requests(page: Path, folder: Path) -> set[str]:
    """What a page asked the network for, by the browser's own log; what the browser asks for itself is left out."""
    log = folder / f"{page.stem}.net.json"
    browse(page, folder / "profile", f"--log-net-log={log}", "--net-log-capture-mode=Everything", "--dump-dom")
    lines = (line.rstrip(",\n]") for line in log.read_text().splitlines())  # an event a line; the end may be missing
    asked = [json.loads(line)["params"] for line in lines if line.startswith("{") and '"initiator"' in line]
    return {each["url"] for each in asked if each["initiator"] != "not an origin"}


def test_the_page_asks_the_network_for_nothing(report: Path, tmp_path: Path) -> None:
    """Beside a page that does, so that the log is known to tell."""
    other = tmp_path / "other.html"
    other.write_text('<!DOCTYPE html><img src="http://example.invalid/x.png">')
    assert requests(other, tmp_path) == {"http://example.invalid/x.png"}
    assert requests(report, tmp_path) == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 520])
def test_it_is_drawn(report: Path, tmp_path: Path, width: int, scheme: str) -> None:
    """In both schemes and widths: the paper's colour around, lines in both runs' colours, the sample's red."""
    picture = tmp_path / "page.png"
    blink = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    browse(report, tmp_path / "profile", blink, f"--screenshot={picture}", f"--window-size={width},3600")
    image = Image.open(picture).convert("RGB")
    assert image.size == (width, 3600)
    colours = {colour: count for count, colour in image.getcolors(1 << 24) or []}
    paper, first, second = {
        "light": ((255, 255, 255), (0, 0x72, 0xB2), (0xD5, 0x5E, 0)),
        "dark": ((0x14, 0x17, 0x1A), (0x3D, 0x9B, 0xDC), (0xF0, 0x7F, 0x3C)),
    }[scheme]
    assert image.getpixel((2, 2)) == paper
    assert colours.get(first, 0) > 200 and colours.get(second, 0) > 200 and colours.get((250, 10, 10), 0) > 1000


def test_what_is_not_chosen_is_not_drawn(report: Path, tmp_path: Path) -> None:
    """The page as it is after a click on epoch and on the second run: no script is needed."""
    html = report.read_text()
    html = html.replace('id="by-step" class="choice" checked', 'id="by-step" class="choice"')
    html = html.replace('id="by-epoch" class="choice"', 'id="by-epoch" class="choice" checked')
    html = html.replace('id="show-1" class="choice" checked', 'id="show-1" class="choice"')
    clicked = tmp_path / "clicked.html"
    clicked.write_text(html)
    second = (0xD5, 0x5E, 0)
    counts = []
    for page in (report, clicked):
        picture = tmp_path / "page.png"
        browse(page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1280,3600")
        image = Image.open(picture).convert("RGB")
        counts.append({colour: count for count, colour in image.getcolors(1 << 24) or []}.get(second, 0))
    assert counts[0] > 2000 and counts[1] < counts[0] / 4  # what is left are keys

"""Tables, and figures for people."""

import pytest

from d2lcli.commands.terminal import print_table, short_bytes, short_count


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (999, "999"), (1_000, "1.00 k"), (61_706, "61.7 k"), (999_499, "999 k"), (999_500, "1.00 M"),
        (25_557_032, "25.6 M"), (138_357_544, "138 M"), (4_089_184_256, "4.09 G"), (2_500_000_000_000, "2.5 T"),
    ],
)  # fmt: skip
def test_counts(count: int, text: str) -> None:
    assert short_count(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1024**2 - 1, "1.0 MiB"),
        (5 * 2**20, "5.0 MiB"), (3 * 2**30, "3.0 GiB"), (4096 * 2**40, "4,096.0 TiB"),
    ],
)  # fmt: skip
def test_bytes(count: int, text: str) -> None:
    assert short_bytes(count) == text


def test_a_column_is_cut_to_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = [["a.long.path.to.some.inner.layer.conv1", 1], ["some words that are far too long to fit here", 20_000]]
    print_table(["what", "value", "size"], [[*row, "2 B"] for row in rows], right=["size"], cut="what")
    assert capsys.readouterr().out.splitlines() == [
        "WHAT                         VALUE  SIZE",
        "...some.inner.layer.conv1        1   2 B",
        "some words that are far...  20,000   2 B",
    ]


def test_a_cut_column_keeps_something(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    print_table(["what"], [["x" * 50]], cut="what")
    assert capsys.readouterr().out.splitlines()[1] == "..." + "x" * 13

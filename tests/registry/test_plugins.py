"""Plugins: entry points and modules; loaded when named, isolated when they fail."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2lcli.commands.list import list_entries
from d2lcli.errors import ConfigError
from d2lcli.registry import MODELS, Registry, plugins
from d2lcli.registry.plugins import import_plugin, load_named, outside_names

MODULE = '''
def my_net(width: int = 4):
    """A net from outside."""
    return width

broken = 3
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path with an installed package of entry points."""
    (tmp_path / "d2l_test_plugin.py").write_text(MODULE)
    (tmp_path / "d2l_test_failing.py").write_text("raise RuntimeError('\\x1b[31mno')")
    info = tmp_path / "d2l_test_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: d2l-test-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[d2l.model]\nmy_net = d2l_test_plugin:my_net\nmlp = d2l_test_plugin:my_net\n"
        "failing = d2l_test_failing:x\nnumber = d2l_test_plugin:broken\ngone = d2l_test_plugin:gone\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._points.cache_clear()
    yield tmp_path
    plugins._points.cache_clear()
    for name in ("d2l_test_plugin", "d2l_test_failing", "d2l_test_registers"):
        sys.modules.pop(name, None)


@pytest.fixture
def models() -> Registry:
    return Registry("model", {"mlp": MODELS.describe("mlp")})


@pytest.mark.usefixtures("site")
def test_listing_imports_nothing_and_built_ins_win(models: Registry) -> None:
    assert set(outside_names(models)) == {"my_net", "failing", "number", "gone"}
    assert "d2l_test_plugin" not in sys.modules


@pytest.mark.usefixtures("site")
def test_a_name_that_is_asked_for_joins(models: Registry) -> None:
    assert load_named(models, "my_net")
    assert models.build("my_net", width=7) == 7
    assert models.describe("my_net").description == "A net from outside."
    assert models.describe("my_net").plugin == "d2l-test-plugin"
    with pytest.raises(ConfigError, match="unknown option 'widht'; did you mean 'width'"):
        models.build("my_net", widht=7)


@pytest.mark.usefixtures("site")
def test_building_by_name_is_asking(models: Registry) -> None:
    assert models.build("my_net") == 4
    assert "my_net" in models
    with pytest.raises(ConfigError, match="unknown name 'my_nett'; did you mean 'my_net'"):
        models.build("my_nett")


@pytest.mark.usefixtures("site")
def test_a_taken_name_is_said_in_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    list_entries("model")
    seen = capsys.readouterr()
    assert "my_net  " in seen.out
    assert "note: model 'mlp' is d2l's own; the plugin d2l_test_plugin:my_net may not replace it" in seen.err


@pytest.mark.usefixtures("site")
def test_a_name_that_nobody_has_is_no_error(models: Registry) -> None:
    assert not load_named(models, "nosuch")


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("name", "words"),
    [("failing", r"d2l_test_failing:x of 'failing' cannot be loaded: RuntimeError: \\x1b\[31mno"),
     ("gone", "d2l_test_plugin:gone of 'gone' cannot be loaded: AttributeError"),
     ("number", "d2l_test_plugin:broken of model 'number' is not callable")],
)  # fmt: skip
def test_a_failing_plugin_is_named(models: Registry, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_named(models, name)


def test_a_module_that_registers(site: Path) -> None:
    (site / "d2l_test_registers.py").write_text(
        "from d2lcli.registry import METRICS\nMETRICS.register('outside_metric', dict, 'From a test')\n"
    )
    from d2lcli.registry import METRICS

    import_plugin("d2l_test_registers")
    try:
        assert METRICS.build("outside_metric") == {}
    finally:
        del METRICS._entries["outside_metric"]


@pytest.mark.parametrize("module", ["no_such_module_at_all", "os;x", "../x", "", "a..b"])
def test_a_module_that_is_not_there(module: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be loaded|is not a module name"):
        import_plugin(module)

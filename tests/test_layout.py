"""The floors of the house: who imports whom, and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.backend_free

ROOT = Path(__file__).parent.parent / "kseg"

# Each part may import kseg itself, kseg.errors, its own modules, and these.
MAY_IMPORT = {
    "masks": set(),
    "errors": set(),
    "disk": set(),
    "findings": set(),
    "interval": set(),
    "config": {"interval"},
    "checkpoints": {"disk"},
    "losses": {"masks"},
    "metrics": {"masks"},
    "models": set(),
    "data": {"disk"},
    "audits": {"data"},
    "pictures": {"data"},
    "checks": {"findings"},
    "callbacks": {"checkpoints", "disk", "checks", "findings", "interval", "metrics", "models"},
    "run_directory": {"checkpoints", "config", "disk"},
    "training": {
        "callbacks",
        "checkpoints",
        "config",
        "data",
        "losses",
        "metrics",
        "models",
        "pictures",
        "run_directory",
    },
    "train": {"callbacks", "config", "data", "run_directory", "training"},
    "audit": {"audits", "data"},
    "convert": {"data"},
    "cli": {"audit", "convert", "train"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_floor_imports_only_those_below_it(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    found = {name.split(".")[1] for name in imports(path) if name.startswith("kseg.")}
    assert found - {"IGNORE", "__version__"} <= MAY_IMPORT[part] | {"errors", part}


def python(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": "", **environment},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.slow
def test_importing_the_parts_for_models_takes_no_tensorflow(tmp_path):
    code = "import sys, kseg.losses, kseg.metrics, kseg.models, kseg.callbacks; print('tensorflow' in sys.modules)"
    assert python(code, HOME=str(tmp_path)) == "False"


@pytest.fixture
def make_pairs(tmp_path):
    """Writes an image and an equal mask under each of these names."""

    def make(names):
        picture = Image.new("L", (8, 8))
        picture.paste(255, (0, 0, 4, 4))
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir()
            for name in names:
                picture.save(tmp_path / kind / f"{name}.png")

    return make


@pytest.mark.slow
def test_data_comes_without_keras(make_pairs, tmp_path):
    make_pairs("abcd")
    code = """
import sys
sys.modules["keras"] = sys.modules["jax"] = sys.modules["torch"] = None
from kseg.data import find_foreground, open_sources, training_batches
training, _ = open_sources(".")
batches = training_batches(training, find_foreground(training), image_size=(8, 8), batch_size=2, seed=0)
print(next(iter(batches.dataset))[0].shape)
"""
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + code
    assert python(code, HOME=str(tmp_path), TF_CPP_MIN_LOG_LEVEL="2", TF_ENABLE_ONEDNN_OPTS="0") == "(2, 8, 8, 3)"


@pytest.mark.slow
def test_a_folder_is_audited_without_keras_and_without_tensorflow(make_pairs, tmp_path):
    make_pairs("ab")
    code = """
import sys
sys.modules["keras"] = sys.modules["jax"] = sys.modules["tensorflow"] = None
from kseg.audits import audit
print([finding.check for finding in audit("./").findings])
"""
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + code
    assert python(code, HOME=str(tmp_path)) == "['duplicate']"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "environment", "backend"),
    [
        ("import kseg", {}, "jax"),
        ("import kseg", {"KERAS_BACKEND": "torch"}, "torch"),
        ("import keras, kseg", {"KERAS_BACKEND": "torch"}, "torch"),
    ],
)
def test_jax_is_the_default_and_a_choice_stands(first, environment, backend, tmp_path):
    # Keras writes "tensorflow" into its own file unasked; an unset variable is no choice of it.
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text('{"backend": "tensorflow"}')
    code = f"{first}; import keras; print(keras.config.backend())"
    assert python(code, HOME=str(tmp_path), **environment) == backend


def test_the_parts_are_there_and_others_are_refused():
    import kseg

    assert {"losses", "metrics", "callbacks"} <= set(dir(kseg))
    assert kseg.losses.get("dice").name == "dice"
    with pytest.raises(AttributeError, match="no attribute 'layers'; its parts are callbacks, config"):
        _ = kseg.layers

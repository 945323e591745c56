"""The floors of the house: who imports whom, and what an import costs."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.backend_free

ROOT = Path(__file__).parent.parent / "kseg"

# Each part may import the parts of the lines above its own, and itself; those of one line do not know each other.
FLOORS = [
    {"allocator", "errors", "findings", "interval", "progress"},
    {"even_batches", "processes", "storage", "task"},
    {"config", "data"},
    {"backend", "distribution", "metadata", "targets", "keras_private"},
    {"optimizers"},
    {"losses", "metrics", "models", "checkpoints"},
    {"checks", "diagnosis", "reports"},
    {"callbacks", "audit", "inference"},
    {"runs"},
    {"commands"},
    {"train", "convert", "audit.__main__"},
]
DATA_FLOORS = [
    {"files", "quality", "threads", "transforms"},
    {"layouts"},
    {"sources"},
    {"survey"},
    {"labels"},
    {"classes", "multilabel"},
    {"mask_reading"},
    {"pipeline", "conversion"},
]


def modules():
    """Every module of kseg by its dotted name without `kseg.`; a package by its folder's name, kseg itself by ""."""
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix("__init__").removesuffix("."), path


MODULES = dict(modules())


def imports(path):
    """The modules of kseg that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
        else:
            continue
        for full, module in names:
            if full.split(".")[0] == "kseg":
                name = full.removeprefix("kseg").removeprefix(".")
                yield name if name in MODULES else module.removeprefix("kseg").removeprefix(".")


IMPORTS = {name: {found for found in imports(path) if found not in (name, "")} for name, path in MODULES.items()}


def floor(module, floors):
    """The index of the line that a module is in: by its whole name, or else by the part it belongs to."""
    for number, parts in enumerate(floors):
        if module in parts or (module.split(".")[0] in parts and not any(module in line for line in floors)):
            return number
    raise AssertionError(f"{module} is on no floor")


def upward(module, floors, imported):
    own = floor(module, floors)
    part = module.split(".")[0]
    return {name for name in imported if name.split(".")[0] != part and floor(name, floors) >= own}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {""}))
def test_each_floor_imports_only_those_below_it(module):
    if module == "audit.__main__":
        return
    assert not upward(module, FLOORS, IMPORTS[module])


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("data.")))
def test_inside_data_each_floor_imports_only_those_below_it(module):
    inside = {name.removeprefix("data.") for name in IMPORTS[module] if name.startswith("data.")}
    assert not upward(module.removeprefix("data."), DATA_FLOORS, inside)


def test_no_files_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle


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
def test_data_comes_without_keras_and_without_tensorflow(make_pairs, tmp_path):
    make_pairs("abcd")
    code = """
import sys
sys.modules.update(dict.fromkeys(("keras", "jax", "torch", "tensorflow", "tensorflow_datasets")))
from kseg.data import find_foreground, open_sources, training_batches
training, _ = open_sources(".")
batches = training_batches(training, find_foreground(training), image_size=(8, 8), batch_size=2, seed=0)
print(next(iter(batches))[0].shape)
"""
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + code
    assert python(code, HOME=str(tmp_path)) == "(2, 8, 8, 3)"


@pytest.mark.slow
def test_a_folder_is_audited_without_keras_and_without_tensorflow(make_pairs, tmp_path):
    make_pairs("ab")
    code = """
import sys
sys.modules["keras"] = sys.modules["jax"] = sys.modules["tensorflow"] = None
from kseg.audit import audit
print([finding.cause for finding in audit("./").findings])
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

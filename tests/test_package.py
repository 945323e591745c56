"""What `import kseg` offers, and that it changes nothing in the process of its user."""

import ast
import importlib
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import kseg

pytestmark = pytest.mark.backend_free

ROOT = Path(kseg.__file__).parent
PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py"))


def test_dir_lists_what_is_public_and_nothing_else():
    assert dir(kseg) == sorted(kseg.__all__)
    assert {"losses", "metrics", "callbacks", "preflight", "runs", "IGNORE", "__version__"} <= set(dir(kseg))
    assert all(hasattr(kseg, name) for name in dir(kseg))


def test_editors_see_the_same_names():
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    imported = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    annotated = {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}
    assert imported | annotated == set(kseg.__all__)
    assert (ROOT / "py.typed").exists()


def test_another_name_is_refused():
    assert kseg.losses.get("dice").name == "dice"
    with pytest.raises(
        AttributeError,
        match="no attribute 'layers'; expected one of IGNORE, __version__, TrainConfig, load, preflight, train",
    ):
        _ = kseg.layers


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_has_the_name_of_a_module_beside_it(folder):
    package = importlib.import_module(".".join(["kseg", *folder.relative_to(ROOT).parts]))
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    functions = {name for name in modules if inspect.isfunction(getattr(package, name, None))}
    # `python -m kseg.train` needs a module of that name, which can be called like the function.
    assert functions <= ({"train"} if folder == ROOT else set())


@pytest.mark.parametrize("first", ["", "import kseg.train"])
def test_train_is_a_function_whatever_was_imported_before(first):
    lines = f"{first}\nfrom kseg import TrainConfig, train\ntry: train(TrainConfig(dataset='./nowhere'))"
    done = subprocess.run(
        [sys.executable, "-c", f"{lines}\nexcept Exception as error: print(error)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "There is no folder ./nowhere" in done.stdout


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_lists_names_that_are_there(folder):
    package = importlib.import_module(".".join(["kseg", *folder.relative_to(ROOT).parts]))
    assert all(hasattr(package, name) for name in getattr(package, "__all__", []))


def test_the_licence_is_in_the_metadata():
    metadata = importlib.metadata.metadata("kseg")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert (ROOT.parent / "LICENSE").read_text().lstrip().startswith("Apache License")


IMPORT_EVERYTHING = """
import atexit, logging, os, pkgutil, importlib, sys
import cv2, jax, keras, tensorflow, tensorflow_datasets, matplotlib, PIL.Image, tqdm, tyro, array_record
logging.getLogger("kseg")
state = lambda: (
    dict(os.environ), cv2.getNumThreads(), atexit._ncallbacks(), jax.config.values["jax_compilation_cache_dir"],
    PIL.Image.MAX_IMAGE_PIXELS, tensorflow.config.get_visible_devices(),
    [(name, logger.level, logger.propagate, list(logger.handlers))
     for name, logger in [("", logging.getLogger()), ("kseg", logging.getLogger("kseg"))]],
)
before = state()
import kseg
for module in pkgutil.walk_packages(kseg.__path__, "kseg."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
after = state()
print([(old, new) for old, new in zip(before, after) if old != new])
"""


@pytest.mark.slow
def test_importing_all_of_kseg_changes_nothing_in_the_process():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], capture_output=True, text=True, check=False, cwd=ROOT.parent
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import kseg; kseg.preflight",
        "from kseg.callbacks import CollapseDetector",
        "from kseg.losses import DiceLoss",
        "from kseg.metrics import IoU",
        "from kseg.models import unet",
        "from kseg.runs import train",
    ],
)
def test_a_backend_that_keras_does_not_know_is_named_in_one_line(code, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "pytorch")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    message = "KERAS_BACKEND is pytorch; kseg trains on jax or torch. Set KERAS_BACKEND=jax or KERAS_BACKEND=torch."
    assert done.stderr.splitlines()[-1] == f"kseg.errors.KsegError: {message}"

"""Every notebook runs from its first cell to its last."""

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from tests.docs.pages import ROOT

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 3


def on_backends(path):
    """A parameter of a test: the notebook of everybody's own `fit` runs on both backends, the longer ones on one."""
    marks = () if path.stem == "own_model_in_fit" else pytest.mark.backend_free
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("path", [on_backends(path) for path in NOTEBOOKS])
def test_a_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "Epoch 2/" in said
    if path.stem == "diagnose_a_dead_run":
        assert "mask_values: all 48 masks hold nothing but 0 and 255" in said
        assert "⚠️" in said
        assert "↩️  Recovery 1 of 3" in said


@pytest.mark.slow
@pytest.mark.backend_free
def test_a_run_in_a_notebook_is_stopped_by_the_stop_button_and_goes_on(tmp_path):
    settings = {"dataset": "shapes/rare", "dev_mode": True, "dev_samples": 16, "image_size": (32, 32), "epochs": 300}
    settings |= {"model": "tests.runs.test_optimizers:own_model", "run_dir": str(tmp_path / "run")}
    begin = f"from kseg import TrainConfig, train\nsettings = {settings}\ntrain(TrainConfig(**settings))"
    go_on = (
        "result = train(TrainConfig(**settings | {'epochs': done + 2}), resume=True)\nprint(result.state.epoch - done)"
    )
    manager, client = start_new_kernel(cwd=ROOT)
    try:
        interrupts = []

        def stop_after_epoch_2(message):
            if "Epoch 2/" in message["content"].get("text", "") and not interrupts:
                interrupts.append(manager.interrupt_kernel())

        stopped = client.execute_interactive(begin, output_hook=stop_after_epoch_2, timeout=300)
        assert stopped["content"]["ename"] == "KeyboardInterrupt"
        said = []
        count = "import csv\ndone = len(list(csv.DictReader(open(settings['run_dir'] + '/history.csv'))))\n"
        went_on = client.execute_interactive(count + go_on, output_hook=said.append, timeout=300)
        assert went_on["content"]["status"] == "ok", went_on
        text = "".join(message["content"].get("text", "") for message in said)
        assert f"Resuming from {settings['run_dir']}" in text
        assert text.endswith("\n2\n")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)

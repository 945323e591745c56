import pathlib

import figures
import pytest

pytestmark = pytest.mark.backend_free

HERE = pathlib.Path(figures.__file__).parent
NOT_MEASURING = {"figures", "plain_loop", "ports", "scenarios", "scoring", "subsets"}


def test_every_script_is_run():
    assert {path.stem for path in HERE.glob("*.py")} - NOT_MEASURING == set(figures.SCRIPTS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "_HERE", tmp_path)
    monkeypatch.setattr(figures, "_RESULTS", tmp_path / "results")
    monkeypatch.setattr(figures, "SCRIPTS", {"good": figures.Script(("x", "<nuclei>")), "bad": figures.Script()})
    (tmp_path / "good.py").write_text("import os, sys; print(os.environ['KERAS_BACKEND'], *sys.argv[1:])")
    (tmp_path / "bad.py").write_text("print(1); raise SystemExit(3)")
    return tmp_path


def test_what_a_script_prints_is_kept_with_machine_and_versions(folder, capsys):
    assert figures.main(folder, ("good",)) == 0
    for backend in ("jax", "torch"):
        lines = (folder / f"results/good-{backend}.txt").read_text().splitlines()
        assert lines[0] == f"$ KERAS_BACKEND={backend} python benchmarks/good.py x <nuclei>"
        assert "cores" in lines[1]
        assert "keras" in lines[1]
        assert lines[-1] == f"{backend} x <nuclei>"  # no path of this machine
    assert f"torch x {folder}" in capsys.readouterr().out


def test_a_script_that_fails_keeps_its_former_result(folder, capsys):
    (folder / "results").mkdir()
    (folder / "results/bad-jax.txt").write_text("former")
    assert figures.main(folder) == 1
    assert (folder / "results/bad-jax.txt").read_text() == "former"
    assert "Failed, and kept as it was: bad on jax, bad on torch." in capsys.readouterr().err
    assert (folder / "results/good-jax.txt").exists()


def test_what_cannot_be_run_is_refused(folder, capsys):
    assert figures.main(folder, ("other",)) == 2
    assert "only: other is not known; expected some of good, bad." in capsys.readouterr().err
    assert figures.main() == 2
    assert "nuclei: good needs the folder of nuclei; give --nuclei." in capsys.readouterr().err

import os
import subprocess
import sys

import pytest

from kseg.commands import train as command
from kseg.config.train import TrainConfig

pytestmark = pytest.mark.backend_free


def test_impossible_values_are_refused(refused, tmp_path):
    assert "epochs: 0 is not allowed; expected greater than or equal to 1" in refused("--epochs", "0")
    assert "invalid choice 'hausdorff' for argument '--loss'" in refused("--loss", "hausdorff")
    assert "Error parsing --lr: could not convert string to float: 'fast'" in refused("--lr", "fast")
    assert "Unrecognized options: --epoch" in refused("--epoch", "3")
    assert "no data set 'nonsense'" in refused("--dataset", "nonsense")
    assert "There is no checkpoint none.keras" in refused("--checkpoint", "none.keras")
    message = refused("--loss", "tversky", "--loss-arguments", "gamma", "1")
    assert "loss tversky with {'gamma': 1.0}: The loss 'tversky' takes no 'gamma'; it takes alpha, beta" in message
    message = refused("--loss", "dice", "--loss-arguments", "smooth", "0")
    assert "loss dice with {'smooth': 0.0}: smooth is 0.0 pixels" in message


def test_yaml_is_checked_like_flags_and_flags_win(refused, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("epochs: 3\nlearning: 3\n")
    assert "learning: there is no such setting" in refused("--config", str(path))
    path.write_text("epochs: -3\n")
    assert "epochs: -3 is not allowed" in refused("--config", str(path))
    path.write_text("epochs: 3\nlr: 0.5\n")
    settings = command.parse(["--config", str(path), "--lr", "0.1"]).settings
    assert (settings.epochs, settings.lr) == (3, 0.1)
    assert "no data set 'x'" in refused("--config", str(path), "--lr", "0.1", "--dataset", "x")


@pytest.fixture
def help_text(capsys):
    """The help as text without lines and frames."""

    def read(flag):
        with pytest.raises(SystemExit) as exit:
            command.main([flag])
        assert exit.value.code == 0
        return " ".join(capsys.readouterr().out.replace("│", " ").split())

    return read


def test_all_of_the_help_shows_every_default_and_what_it_means(help_text):
    text = help_text("--help-all")
    for name, field in TrainConfig.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description in text
    assert "(default: 0.003)" in text
    sections = ["origin options", "data options", "model options", "optimizer options", "run options"]
    assert sorted(sections, key=text.index) == sections


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_what_people_need_first_and_how_to_see_the_rest(flag, help_text):
    text = help_text(flag)
    shown = {name for name in TrainConfig.model_fields if f"--{name.replace('_', '-')} " in text}
    assert shown >= {"dataset", "epochs", "lr", "encoder", "image_size", "run_dir"}
    assert len(shown) <= 12
    assert "--help-all lists all settings." in text
    assert TrainConfig.model_fields["epochs"].description in text


def test_settings_of_all_sections_are_checked_against_each_other(refused):
    assert "model fpn" in refused("--model", "fpn", "--epochs", "3")
    assert "freeze and encoder_lr are for a model with an --encoder." in refused("--freeze", "3")


def test_more_and_less_at_once_is_refused(refused):
    assert command.parse([]).console.detail == "normal"
    assert command.parse(["-v"]).console.detail == "verbose"
    assert command.parse(["--quiet"]).console.detail == "quiet"
    assert "-v prints more and -q less; pass one of them." in refused("-v", "-q")


@pytest.mark.parametrize("flag", ["--run-dir", "--run_dir"])
@pytest.mark.parametrize("joined", [True, False])
def test_a_folder_called_run_dir_is_found_again(flag, joined, tmp_path):
    run = tmp_path / "run_dir_1"
    run.mkdir()
    (run / "config.yaml").write_text("lr: 0.5\nepochs: 7\nimage_size: 64\n")
    arguments = ["--resume", f"{flag}={run}"] if joined else ["--resume", flag, str(run)]
    settings = command.parse(arguments).settings
    assert (settings.lr, settings.epochs, settings.image_size, settings.run_dir) == (0.5, 7, 64, run)


def test_a_recipe_called_run_dir_is_read(tmp_path):
    (tmp_path / "run_dir.yaml").write_text("lr: 0.5\n")
    assert command.parse(["--config", str(tmp_path / "run_dir.yaml")]).settings.lr == 0.5


@pytest.mark.parametrize("line", ["resume: true", "config: other.yaml", "checkpoint: last.keras"])
def test_what_only_the_command_may_say_is_refused_in_a_recipe(line, refused, tmp_path):
    (tmp_path / "recipe.yaml").write_text(f"lr: 0.5\n{line}\n")
    name = line.partition(":")[0]
    message = refused("--config", str(tmp_path / "recipe.yaml"))
    assert f"recipe.yaml has {name}, which no YAML file may set. Pass --{name} to the command instead." in message


@pytest.mark.parametrize("backend", ["pytorch", "tensorflow"])
def test_another_backend_is_named_in_one_line(backend, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "kseg.train", "--dev-mode"],
        env=os.environ | {"KERAS_BACKEND": backend},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"kseg: KERAS_BACKEND is {backend}; kseg trains on jax or torch. Set KERAS_BACKEND=jax or KERAS_BACKEND=torch."
    ]
    assert list(tmp_path.iterdir()) == []

import typing
from pathlib import Path

import pytest
import yaml

from kseg import losses
from kseg.config.base import find_recipe, read_yaml, write_yaml
from kseg.config.train import DataOptions, ModelOptions, OptimizerOptions, RunOptions, TrainConfig
from kseg.data.transforms import strengths as augmentation
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

RECIPES = sorted(Path(__file__).parents[2].glob("kseg/configs/*.yaml"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs: 0 is not allowed; expected greater than or equal to 1"),
        ({"epochs": "many"}, "epochs: 'many' is not allowed; expected a whole number."),
        ({"lr": "fast"}, "lr: 'fast' is not allowed; expected a number."),
        ({"dev_mode": 3}, "dev_mode: 3 is not allowed; expected true or false."),
        ({"data_dir": 3}, "data_dir: 3 is not allowed; expected a path."),
        ({"dataset": ""}, "dataset: '' is not allowed; expected some text."),
        ({"classes": []}, "classes: [] is not allowed; expected at least one name or value."),
        ({"track": 3}, "track: 3 is not allowed; expected a list."),
        ({"model_arguments": 3}, "model_arguments: 3 is not allowed; expected names with values."),
        ({"devices": "some"}, "devices: 'some' is not allowed; expected a whole number or 'all'."),
        ({"lr": -1}, "lr: -1 is not allowed; expected greater than 0"),
        ({"threshold": 1}, "threshold: 1 is not allowed; expected auto, or a probability above 0 and below 1"),
        ({"foreground_crops": 2}, "foreground_crops: 2 is not allowed; expected less than or equal to 1"),
        ({"augment": True}, "augment: True is not allowed; expected 'none', 'light', 'medium' or 'heavy'"),
        ({"loss": "hausdorff"}, "loss: 'hausdorff' is not allowed; expected 'bce', 'combined', 'cross_entropy'"),
        (
            {"foreground": "cells"},
            "foreground: 'cells' is not allowed; expected auto, any, classes, white, or whole numbers",
        ),
        ({"image_size": "big"}, "image_size: 'big' is not allowed; expected a whole number of pixels, or two"),
        ({"image_size": 100}, "image_size: 100 is not a multiple of 8; near it are 96 and 104"),
        ({"image_size": (128, 3)}, "image_size: 3 is not a multiple of 8; near it are 8 and 16"),
        ({"colours": "red"}, "colours: 'red' is not allowed; expected auto, or colours such as '#000000' '#ff0000'."),
        (
            {"colours": ("#000000", "red")},
            "colours: 'red' is not allowed; expected auto, or colours such as '#ff0000'; 'ignore=#ffffff' for a colour",
        ),
        ({"colours": ("#FF0000", "#ff0000")}, "colours: #ff0000, #ff0000 is not allowed; expected 2 to 255, each of "),
        ({"colours": ("#ff0000",)}, "colours: #ff0000 is not allowed; expected 2 to 255, each of them once."),
        ({"colours": ("#ff0000", "ignore=#00ff00")}, "colours: #ff0000, ignore=#00ff00 is not allowed; expected 2 to"),
        ({"colours": ("#ff0000", "#00ff00", "ignore=#00ff00")}, "each of them once. Colours to ignore do not count."),
        ({"bit_depth": 9}, "bit_depth: 9 is not allowed; expected 'auto', 8, 10, 12, 14 or 16"),
        ({"model": "fpn"}, "encoder: none is not allowed for model fpn; expected one that kseg models lists."),
        ({"encoder_weights": "imagenet"}, "encoder_weights: imagenet is not allowed without an encoder."),
        ({"encoder": "resnet"}, "encoder: 'resnet' is not allowed; expected none, mobilenetv3_small"),
        ({"encoder": "./x"}, "encoder_weights: none is not allowed for a preset of KerasHub; expected preset, for the"),
        ({"encoder": "./x", "encoder_weights": "imagenet"}, "encoder_weights: imagenet is not allowed for a preset of"),
        (
            {"encoder": "resnet50v2", "encoder_weights": "preset"},
            "encoder_weights: preset is not allowed for the encoder resnet50v2; expected none, imagenet or a .weights",
        ),
        ({"encoder": "resnet50v2", "image_size": 72}, "image_size: 72 is not a multiple of 32; near it are 64 and 96"),
        (
            {"model": "resunet"},
            "model: 'resunet' is not allowed; expected unet, fpn, deeplabv3plus, mlp, a .keras file",
        ),
        ({"model": "a:b", "encoder": "resnet50v2"}, "encoder: resnet50v2 is not allowed for a model of your own, a:b."),
        ({"model_arguments": {"a": 1}}, "model_arguments: they are for package.module:function, not for model unet."),
        ({"freeze": 2}, "freeze and encoder_lr are for a model with an --encoder."),
        ({"encoder": "resnet50v2", "freeze": 2}, "freeze: random weights would stay random; give --encoder-weights or"),
        ({"optimizer": "adam"}, "optimizer: 'adam' is not allowed; expected 'adamw', 'sgd', 'lion' or 'muon'"),
        ({"ema": 1}, "ema: 1 is not allowed; expected less than 1"),
        ({"filters": 12}, "filters: 12 is not allowed; expected a multiple of 8"),
        ({"threshold": 1.5}, "threshold: 1.5 is not allowed; expected auto, or a probability above 0 and below 1"),
        (
            {"threshold": "best"},
            "threshold: 'best' is not allowed; expected auto, or a probability above 0 and below 1",
        ),
        ({"epoch": 3}, "epoch: there is no such setting; did you mean epochs?"),
        ({"zzz": 3}, "zzz: there is no such setting; the settings are dataset, data_dir"),
    ],
)
def test_what_is_wrong_is_named(settings, message):
    with pytest.raises(KsegError) as raised:
        TrainConfig(**settings)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_everything_that_is_wrong_is_named_at_once():
    with pytest.raises(KsegError, match=r"(?s)epochs: 0 .*\nlr: -1 "):
        TrainConfig(epochs=0, lr=-1)


def test_yaml_round_trip(tmp_path):
    config = TrainConfig(
        image_size=(64, 96),
        foreground=(1, 3),
        colours=("#000000", "#00ff00"),
        bit_depth=12,
        loss="tversky",
        loss_arguments={"alpha": 0.2},
    )
    write_yaml(config, tmp_path / "config.yaml")
    assert TrainConfig(**read_yaml(tmp_path / "config.yaml")) == config


def test_a_number_that_yaml_takes_for_text(tmp_path):
    (tmp_path / "config.yaml").write_text("lr: 1e-4\n")
    assert TrainConfig(**read_yaml(tmp_path / "config.yaml")).lr == 1e-4


def test_files_that_hold_no_settings(tmp_path):
    path = tmp_path / "config.yaml"
    with pytest.raises(KsegError, match=r"config.yaml cannot be read: No such file"):
        read_yaml(path)
    path.write_text("epochs: [")
    with pytest.raises(KsegError, match=r"config.yaml is not YAML"):
        read_yaml(path)
    path.write_text("just words")
    with pytest.raises(KsegError, match=r"holds 'just words'; expected lines such as 'epochs: 50'"):
        read_yaml(path)


def test_the_names_of_the_losses_are_those_that_there_are():
    assert list(typing.get_args(TrainConfig.model_fields["loss"].annotation)) == list(losses.BY_NAME)


def test_the_presets_of_augmentation_are_those_that_there_are():
    names = typing.get_args(TrainConfig.model_fields["augment"].annotation)
    assert names == typing.get_args(augmentation.Preset)
    assert all(isinstance(augmentation.find_augmentation(name), augmentation.Augmentation) for name in names)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_every_recipe_is_valid_and_begins_with_its_command(recipe):
    TrainConfig(**yaml.safe_load(recipe.read_text()))
    assert f"# python -m kseg.train --config {recipe.stem}" in recipe.read_text()


def test_a_recipe_is_found_by_its_name_unless_there_is_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_yaml(find_recipe(Path("demo")))["dev_mode"] is True
    with pytest.raises(KsegError, match=r"There is no file mine; expected one, or a recipe of kseg: classes, demo"):
        find_recipe(Path("mine"))
    Path("demo").write_text("epochs: 3")
    assert read_yaml(find_recipe(Path("demo"))) == {"epochs": 3}


def test_the_parts_have_every_setting_once_and_the_same_values():
    config = TrainConfig(image_size=(64, 96), lr=0.5, keep=5, filters=8)
    parts = [part.of(config) for part in (DataOptions, ModelOptions, OptimizerOptions, RunOptions)]
    names = [name for part in parts for name in type(part).model_fields]
    assert sorted(names) == sorted(TrainConfig.model_fields)
    assert {name: value for part in parts for name, value in part.settings().items()} == config.settings()


FIXED = {"train_split", "val_split", "val_fraction", "foreground", "colours", "bit_depth", "image_size", "resize"}
FIXED |= {"mask_exif"}
FIXED |= {"task", "classes", "class_names", "rest", "model", "model_arguments", "encoder", "encoder_weights"}
FIXED |= {"optimizer", "schedule", "accumulate", "ema", "freeze", "encoder_lr"}
FIXED |= {
    "dev_mode",
    "dev_samples",
    "filters",
    "mixed_precision",
    "threshold",
    "batch_size",
    "steps_per_execution",
    "seed",
}
PLACES = {"dataset", "data_dir", "run_dir", "start_from"}


@pytest.mark.parametrize("name", list(TrainConfig.model_fields))
def test_a_setting_may_change_in_mid_run_only_if_its_field_says_so(name):
    config = TrainConfig()
    before = config.settings() | {name: "other"}
    if name in FIXED:
        with pytest.raises(KsegError, match=f"cannot be changed in mid-run: {name} other -> .*Keep those of the check"):
            config.changes(before)
    else:
        change = [] if name in PLACES else [f"{name} other -> {config.settings()[name]}"]
        assert config.changes(before) == change


def test_a_new_setting_is_refused_in_mid_run_unless_its_field_allows_it():
    class More(TrainConfig):
        new: int = 3

    with pytest.raises(KsegError, match=r"cannot be changed in mid-run: new 2 -> 3"):
        More().changes({"new": 2})


def test_mixed_precision_was_on_or_off_in_former_settings():
    assert TrainConfig(mixed_precision=True).mixed_precision == "bfloat16"
    assert TrainConfig(mixed_precision=False).mixed_precision == "none"
    assert TrainConfig().changes({"mixed_precision": False}) == []
    with pytest.raises(KsegError, match="mixed_precision bfloat16 -> none"):
        TrainConfig().changes({"mixed_precision": True})

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, sys
from kseg.config.train import TrainConfig
from kseg.runs import train
import keras

folder, out, *numbers = sys.argv[1:]
found = {}
for name in numbers:
    devices, resumed = name.split("-")
    config = TrainConfig(
        dataset=folder, run_dir=f"{out}/{name}", devices=int(devices), image_size=32, batch_size=4, epochs=2,
        lr=0.003, schedule="constant", model="tests.runs.test_optimizers:own_model",
    )
    result = train(config.model_copy(update={"epochs": 1, "devices": int(resumed)}) if resumed != "0" else config)
    if resumed != "0":
        result = train(config, resume=True)
    weights = keras.models.load_model(result.run.last, compile=False).get_weights()
    found[name] = {"history": result.history, "weights": [weight.tolist() for weight in weights]}
json.dump(found, open(f"{out}/found.json", "w"))
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "jax", reason="Keras splits batches over devices on JAX alone")
def test_the_same_run_on_1_2_and_4_devices_and_from_one_number_to_another(folder, tmp_path):
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
        "PYTHONPATH": str(ROOT),
    }
    # Two devices twice, and one device in the first epoch with four in the second.
    runs = ["1-0", "2-0", "4-0", "4-1"]
    command = [sys.executable, "-c", SCRIPT, str(folder), str(tmp_path), *runs]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Devices: 4, 1 images on each of a batch of 4: cpu:0, cpu:1, cpu:2, cpu:3" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    one = found.pop("1-0")
    for name, other in found.items():
        for ours, theirs in zip(one["weights"], other["weights"], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5, err_msg=name)
        for before, after in zip(one["history"], other["history"], strict=True):
            for key in ("loss", "val_loss", "val_f1", "f1", "val_target_mean"):
                assert before[key] == pytest.approx(after[key], abs=1e-3), (name, key)
            assert before["val_target_mean"] == after["val_target_mean"]

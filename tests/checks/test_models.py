import keras
import pytest
from keras import layers

import kseg
from tests.checks.samples import SIZE, causes, compiled, images, masks, state, stateful


def test_the_model_stays_as_it_was():
    model = stateful()
    before = state(model)
    assert kseg.preflight(model, (images(), masks())) == []
    assert state(model) == before


@pytest.mark.skipif(keras.config.backend() != "torch", reason="torch keeps gradients and random numbers to itself")
def test_torch_stays_as_it_was():
    import torch

    model = stateful()
    model.zero_grad()
    numbers = torch.get_rng_state()
    kseg.preflight(model, (images(), masks()))
    assert all(variable.value.grad is None for variable in model.trainable_variables)
    assert torch.equal(torch.get_rng_state(), numbers)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="modules of torch's own")
def test_a_torch_module_stays_as_it_was():
    import torch

    norm = torch.nn.BatchNorm2d(3)
    wrapped = layers.TorchModuleWrapper(norm, output_shape=(None, 3, *SIZE))
    head = layers.Conv2D(1, 1, data_format="channels_first")
    model = compiled(keras.Sequential([keras.Input((3, *SIZE)), wrapped, head, layers.Permute((2, 3, 1))]))
    norm.eval()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert causes(model, ((images() / 255).transpose(0, 3, 1, 2), masks())) == []
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert not norm.training

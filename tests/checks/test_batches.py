import keras
import pytest

import kseg
from kseg.errors import KsegError
from tests.checks.samples import causes, images, masks, net


class Sequence(keras.utils.PyDataset):
    num_batches = 3

    def __getitem__(self, index):
        return images(), 0 * masks()


def tf_dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((images(), 0 * masks())).batch(8).repeat()


def data_loader():
    import torch

    data = torch.utils.data.TensorDataset(torch.from_numpy(images()), torch.from_numpy(0 * masks()))
    return torch.utils.data.DataLoader(data, batch_size=8)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [tf_dataset, Sequence, data_loader, lambda: iter([(images(), 0 * masks())])])
def test_whatever_fit_takes(model, dataset):
    if dataset is data_loader:
        pytest.importorskip("torch")
    assert causes(model, dataset(), batches=2) == ["empty_masks"]


def test_nothing_to_look_at(model):
    with pytest.raises(KsegError, match="The data set is empty; expected at least one batch"):
        kseg.preflight(model, [])
    with pytest.raises(KsegError, match=r"The data set has no masks; expected batches \(images, masks\)"):
        kseg.preflight(model, [images()])
    with pytest.raises(KsegError, match=r"not compiled; expected model.compile\(optimizer, loss\)"):
        kseg.preflight(net(), (images(), masks()))
    with pytest.raises(ValueError, match="checks 0 batches; expected 1 or more"):
        kseg.preflight(model, (images(), masks()), batches=0)

import keras
import numpy as np
import pytest

from kseg.diagnosis.recovery import clip_gradient, lower_learning_rate


def test_a_schedule_of_the_user_is_left_unchanged():
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.25

        def get_config(self):
            return {}

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(Own()), "mse")
    assert lower_learning_rate(model, 0.1) is None
    assert float(model.optimizer.learning_rate) == 0.25


def compiled(optimizer):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer, "mse")
    return model


def test_a_clipped_gradient_holds_in_the_next_step():
    model = compiled(keras.optimizers.SGD(1.0))
    x, y = np.full((4, 1), 100.0), np.zeros((4, 1))
    model.fit(x, y, verbose=0)  # the step is compiled without clipping
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    assert clip_gradient(model)
    model.fit(x, y, verbose=0)
    moved = np.hypot(1 - model.get_weights()[0].item(), model.get_weights()[1].item())
    assert moved == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("clip", [{"clipnorm": 2.0}, {"global_clipnorm": 2.0}, {"clipvalue": 2.0}])
def test_an_optimizer_that_clips_is_left_unchanged(clip):
    model = compiled(keras.optimizers.SGD(1.0, **clip))
    assert not clip_gradient(model)
    assert model.optimizer.get_config().items() >= clip.items()

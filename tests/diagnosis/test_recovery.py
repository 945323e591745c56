import keras
import numpy as np
import pytest

from kseg.diagnosis.recovery import clip_gradient, lower_learning_rate, reset_optimizer


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


@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer])
def test_averages_of_the_weights_start_from_the_weights_as_they_are(wrap):
    model = compiled(wrap(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)))
    model.fit(np.ones((4, 1)), np.zeros((4, 1)), verbose=0)
    model.set_weights([np.full((1, 1), 3.0), np.full(1, 5.0)])
    reset_optimizer(model)
    averages = [one for one in model.optimizer.variables if one.path.endswith("_average")]
    assert [keras.ops.convert_to_numpy(one).item() for one in averages] == [3, 5]

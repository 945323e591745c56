import keras

from kseg.diagnosis.recovery import lower_learning_rate


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

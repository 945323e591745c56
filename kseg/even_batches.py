"""Batches that are split evenly over devices, and a plain word where one cannot be; JAX alone."""

import jax
import keras

from kseg.errors import KsegError


class EvenBatches(keras.distribution.DataParallel):
    """Keras's data parallelism, which names a batch that does not divide.

    JAX's own error speaks of shardings, and after it every call of the model fails.
    """

    def get_data_layout(self, data_shape: tuple[int, ...]) -> keras.distribution.TensorLayout:
        """Return how an array of a batch lies on the devices."""
        layout = super().get_data_layout(data_shape)
        return _EvenLayout(layout.axes, layout.device_mesh)


class _EvenLayout(keras.distribution.TensorLayout):
    @property
    def backend_layout(self) -> jax.sharding.Sharding:
        sharding = super().backend_layout
        return _EvenSharding(sharding.mesh, sharding.spec)


class _EvenSharding(jax.sharding.NamedSharding):
    # Keras asks for the layout of the first batch only; JAX asks this for each.
    def shard_shape(self, global_shape: tuple[int, ...]) -> tuple[int, ...]:
        devices = self.num_devices
        if global_shape and global_shape[0] % devices:
            raise KsegError(
                f"A batch of {global_shape[0]} images does not divide by {devices} devices. Pass batches that do: a "
                "short last one is left out by `drop_remainder=True` of tf.data, and filled up by "
                "kseg.data.validation_batches. If the model has seen a batch before, `model.jax_state_sync()` gives it "
                "its weights back; else make it anew."
            )
        return super().shard_shape(global_shape)

"""What a command does before Keras is imported."""

from kseg.allocator import keep_freed_memory
from kseg.data import quiet_tensorflow


def prepare_for_keras() -> None:
    """Check the backend, keep freed memory for the next step, and switch off TensorFlow's start-up messages.

    Raises:
        KsegError: `KERAS_BACKEND` is neither jax nor torch.
    """
    from kseg.backend import check_environment

    check_environment()
    keep_freed_memory()
    quiet_tensorflow()

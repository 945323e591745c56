import pytest

from kseg.optimizers import slow_encoder


@pytest.fixture(autouse=True)
def slow_encoders_of_this_test():
    """Make the classes anew: those of AdamW and of its adjustable form have one name in files, and the last has it."""
    slow_encoder.cache_clear()

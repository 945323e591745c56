import threading

import cv2
import pytest

from kseg.data.transforms.opencv import single_thread

pytestmark = pytest.mark.backend_free


def test_the_last_block_to_end_gives_opencv_its_threads_back():
    before = cv2.getNumThreads()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with single_thread:
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with single_thread:
        assert cv2.getNumThreads() == 1
        thread.start()
        entered.wait()
    assert cv2.getNumThreads() == 1
    leave.set()
    thread.join()
    assert cv2.getNumThreads() == before

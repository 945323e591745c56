import signal
import threading

import pytest

from kseg.callbacks.signals import Signals

pytestmark = pytest.mark.backend_free


def test_signals_reach_the_handler_until_it_is_removed(signals):
    numbers = []
    handled = Signals(lambda number, frame: numbers.append(number))
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    assert numbers == [signal.SIGINT, signal.SIGTERM]
    handled.restore()
    handled.restore()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_ignored_signal_stays_ignored(signals):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Signals(pytest.fail).restore()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_other_threads_handle_no_signals(signals):
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=Signals, args=(pytest.fail,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before

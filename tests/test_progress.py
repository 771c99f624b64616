from contextlib import suppress

import pytest

from helpers.progress import progress_bar


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_bar_is_shown_and_wiped_off(capfd, error):
    with suppress(KeyboardInterrupt), progress_bar(2, "counting") as bar:
        bar.update()
        if error:
            raise error
    shown = capfd.readouterr().err
    assert "counting" in shown and shown.rstrip("\r").rpartition("\r")[2].strip() == ""

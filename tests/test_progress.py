from helpers.progress import progress_bar


def test_bar_is_shown_and_wiped_off(capfd):
    with progress_bar(2, "counting") as bar:
        bar.update()
        bar.update()
    shown = capfd.readouterr().err
    assert "counting" in shown and shown.endswith("\r")
    assert shown.rstrip("\r").rpartition("\r")[2].strip() == ""


def test_bar_is_wiped_off_after_an_error_too(capfd):
    try:
        with progress_bar(2, "counting"):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert capfd.readouterr().err.rstrip("\r").rpartition("\r")[2].strip() == ""

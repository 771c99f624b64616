import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_handwriting import PICTURE, difference, drawn, on_paper

from helpers import picture_file
from helpers.handwriting import as_mnist
from helpers.picture_file import HandwritingError, read_picture

ROOT = Path(__file__).parent.parent


@pytest.fixture
def saved(tmp_path):
    """Save a picture, and return its path."""

    def saved(picture, name="four.png", **options):
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(tmp_path / name, **options)
        return tmp_path / name

    return saved


@pytest.mark.parametrize("file", "1.png L.png RGB.png L.jpg RGB.jpg CMYK.jpg RGB.webp RGB.bmp P.gif L.tiff".split())
def test_colour_and_grey_files(saved, file):
    picture = read_picture(saved(Image.fromarray(PICTURE).convert(file.split(".")[0]), file))
    assert picture.shape == PICTURE.shape and difference(as_mnist(picture)) < 0.05


@pytest.mark.parametrize("shade", [0, 60, 200, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_is_paper(saved, shade, mode):
    """Under ink of any shade."""
    layers = (Image.new("L", PICTURE.shape[::-1], shade), Image.fromarray(255 - PICTURE))
    assert difference(as_mnist(read_picture(saved(Image.merge("LA", layers).convert(mode))))) < 0.02


def test_transparent_corner_is_paper(saved):
    opacity = np.full_like(PICTURE, 255)
    opacity[:60, :60] = 0
    assert difference(as_mnist(read_picture(saved(np.dstack([PICTURE] * 3 + [opacity]))))) < 0.02


def test_palette_and_sixteen_bits(saved):
    palette = Image.fromarray((PICTURE < 128).astype(np.uint8)).convert("P")
    palette.putpalette([255, 0, 255, 0, 0, 0])
    assert difference(as_mnist(read_picture(saved(palette)))) < 0.1
    assert read_picture(saved(palette, transparency=0)).max() == 255
    picture = read_picture(saved(Image.fromarray(PICTURE.astype(np.uint16) * 256 + 128)))
    assert np.abs(picture - PICTURE.astype(float)).max() <= 1


@pytest.mark.parametrize(
    ("kind", "white"),
    [
        ("uint16", 255), ("uint16", 1023), ("uint16", 4095), ("uint16", 2**16 - 1), ("int32", 4095),
        ("int32", 2**31 - 1), ("float32", 1), ("float32", 255), ("float32", 2**16 - 1),
    ],
)  # fmt: skip
def test_shades_may_have_any_number_of_bits(saved, kind, white):
    path = saved(Image.fromarray((PICTURE / 255 * white).astype(kind)), "four.tiff")
    assert np.abs(read_picture(path) - PICTURE.astype(float)).max() <= 1


def test_shades_of_32_bits_may_be_unsigned(saved):
    path = saved(Image.fromarray((PICTURE / 255 * (2**32 - 1)).astype(np.uint32).view(np.int32)), "four.tiff")
    signed, unsigned = (np.array([339, 3], "<u2").tobytes() + b"\1\0\0\0" + each for each in (b"\2", b"\1"))
    assert path.read_bytes().count(signed) == 1
    with pytest.raises(HandwritingError, match="shades from -.* to .*, expected from 0 up"):
        read_picture(path)
    path.write_bytes(path.read_bytes().replace(signed, unsigned))
    assert np.abs(read_picture(path) - PICTURE.astype(float)).max() <= 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1])
def test_shades_that_are_none_are_refused(saved, wrong):
    shades = PICTURE / np.float32(255)
    shades[0, 0] = wrong
    with pytest.raises(HandwritingError, match="shades from .*, expected from 0 up"):
        read_picture(saved(shades, "four.tiff"))


@pytest.mark.parametrize("name", ["four.png", "four.jpg"])
def test_orientation_of_a_photo(saved, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right by a quarter
    picture = read_picture(saved(np.rot90(drawn((300, 200), (70, 20))), name, exif=exif))
    assert picture.shape == (200, 300) and difference(as_mnist(picture)) < 0.1


STATUS = Path("/proc/self/status")


@pytest.mark.parametrize(("name", "most"), [("photo.jpg", 50e6), ("photo.png", 100e6), ("transparent.png", 150e6)])
@pytest.mark.thorough
@pytest.mark.skipif(not STATUS.exists(), reason="the system does not tell how much memory a process has taken")
def test_photo_of_12_megapixels_takes_bounded_memory_and_time(saved, name, most):
    photo = Image.fromarray(on_paper()).resize((4000, 3000)).convert("RGB")
    if name == "transparent.png":
        photo.putalpha(200)
    path = saved(photo, name, **({"compress_level": 1} if name.endswith("png") else {}))
    code = (
        "import re, sys, time; from helpers.handwriting import as_mnist, read_picture\n"
        f"peak = lambda: 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', open('{STATUS}').read())[1])\n"
        "before = peak(); start = time.process_time()\n"
        "picture = read_picture(sys.argv[1]); image = as_mnist(picture)\n"
        "print(max(picture.shape), time.process_time() - start, peak() - before, (image > 0).sum())"
    )
    said = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, check=True).stdout
    longer, seconds, grown, ink = map(float, said.split())
    assert longer == 1024 and seconds < 5 and grown < most and ink > 50


def encoded(format):
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Ceci n'est pas un quatre.", "found a text"),
        (b"", "found an empty file. Save the picture again"),
        (b"II*\0\x08\0\0\0", "found a TIFF file of a rare kind. Save it again, with 8 bits a pixel"),
        (b"\n<!doctype html><HTML>", "found a web page"),
        (b"\0\0\0\x18ftypheic\0\0", "found HEIC or AVIF. .* export it as a JPEG file"),
        (b"PK\3\4\0\0", "found something else"),
        (encoded("PNG")[:-400], "found one that cannot be read .*truncated"),
    ],
    ids=["text", "empty", "TIFF", "web page", "HEIC", "archive", "truncated"],
)
def test_other_files_are_refused(tmp_path, content, found, recwarn):
    path = tmp_path / "digit.png"
    path.write_bytes(content)
    expected = f"^{re.escape(str(path))}: expected a digit, as a PNG, JPEG, WebP, BMP, GIF or TIFF file; {found}"
    with pytest.raises(HandwritingError, match=expected):
        read_picture(path)
    assert not recwarn


@pytest.mark.parametrize(("limit", "what"), [("MAX_BYTES", "bytes"), ("MAX_PIXELS", "pixels")])
def test_large_files_are_refused(saved, monkeypatch, limit, what):
    monkeypatch.setattr(picture_file, limit, 1_000)
    path = saved(PICTURE)
    path.write_bytes(path.read_bytes()[:-400])  # it is not even decoded
    with pytest.raises(HandwritingError, match=f"found one that cannot be read .more than 1,000 {what}.* reduce it"):
        read_picture(path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none.png", "there is no such file. Correct the path"),
        ("folder", "found a folder. Name one of the pictures in it"),
        ("https://example.org/four.png", "found an address. Download the picture"),
        pytest.param(
            "/dev/null", "found what is no file, but a device or a pipe",
            marks=pytest.mark.skipif(os.name == "nt", reason="needs a device with a path"),
        ),
    ],
)
def test_what_is_no_file_is_named(tmp_path, monkeypatch, path, said):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(HandwritingError, match=f"^{path}: .*{said}"):
        read_picture(path)


@pytest.mark.parametrize("form", ["{}", "'{}'", '"{}"', " {}\n", "file://{}", "~/my four.png", "'~/my four.png'"])
def test_path_may_be_as_it_is_pasted(saved, tmp_path, monkeypatch, form):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # Windows
    path = saved(PICTURE, "my four.png")
    pasted = path.as_uri() if form == "file://{}" else form.format(path)
    assert (read_picture(pasted) == PICTURE).all()


def test_quotes_may_be_part_of_a_name(saved):
    path = saved(PICTURE)
    assert (read_picture(path.rename(path.with_name("'four'"))) == PICTURE).all()


@pytest.mark.filterwarnings("error")
def test_damaged_notes_on_a_picture_do_not_matter(saved):
    assert read_picture(saved(PICTURE, "four.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")).shape == PICTURE.shape

"""What a frame, a file and a contact sheet hold."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image, ImageSequence

from sim_eval.foundation.errors import RunError
from sim_eval.video.encode import write_video
from sim_eval.video.episode_video import COLUMNS, row, write_sheet
from sim_eval.video.options import FORMATS
from sim_eval.video.overlay import Axes, Moment, Overlay, QCurve
from sim_eval.video.replay import DrawnEpisode
from sim_eval.video.style import CURVE, FAILURE, SUCCESS, Scale, fitted, wrapped
from tests.made_up import made_up_record

GREY = 90
LONG = "pick up the black bowl between the plate and the ramekin and place it on the plate"


def moment(step: int, size: int = 256) -> Moment:
    return Moment(np.full((size, size, 3), GREY, np.uint8), step)


def share(frame: np.ndarray, colour: tuple[int, int, int], tolerance: int = 0) -> np.ndarray:
    """Where the frame has this colour, (height, width)."""
    found: np.ndarray = (np.abs(frame.astype(int) - np.array(colour)) <= tolerance).all(-1)
    return found


def test_a_file_that_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "new" / "video.mp4"
    write_video(path, (np.full((250, 514, 3), 10 * shade, np.uint8) for shade in range(12)), fps=20 / 3)
    shown = iio.immeta(path, plugin="FFMPEG")
    assert (shown["codec"], shown["size"]) == ("h264", (514, 250))
    assert shown["pix_fmt"].startswith("yuv420p")
    assert shown["fps"] == pytest.approx(20 / 3, abs=0.01)
    frames = iio.imread(path, plugin="FFMPEG")
    assert frames.shape == (12 + 7, 250, 514, 3), "the last one is held for a second"
    assert np.abs(frames[[0, 5, 11, 18], 100, 100].astype(int) - [[0] * 3, [50] * 3, [110] * 3, [110] * 3]).max() < 4
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "it can start before it is whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_animation(tmp_path: Path) -> None:
    frames = [np.full((60, 80, 3), (20 * shade, 0, 255 - 20 * shade), np.uint8) for shade in range(10)]
    write_video(tmp_path / "a.gif", frames, fps=10)
    with Image.open(tmp_path / "a.gif") as read:
        assert (read.format, read.size, read.info["duration"], read.info["loop"]) == ("GIF", (80, 60), 100, 0)
        shown = [frame.info["duration"] for frame in ImageSequence.Iterator(read)]
        assert sum(shown) == pytest.approx(2000, abs=100), "ten frames, and the last one held"
        read.seek(5)
        assert np.abs(np.asarray(read.convert("RGB"))[30, 40].astype(int) - frames[5][0, 0]).max() < 12


def test_a_video_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write the video .*file/a\.mp4"):
        write_video(tmp_path / "file" / "a.mp4", [np.zeros((16, 16, 3), np.uint8)], fps=20)


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_leaves_no_half_video(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, old[1]))
    try:  # ffmpeg takes all frames and then cannot write them
        with pytest.raises(RunError, match=f"cannot write the video .*{name}: "):
            write_video(tmp_path / f"a.{name}", noise, fps=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())


def test_frames_that_do_not_come_leave_no_file(tmp_path: Path) -> None:
    def broken() -> object:
        yield np.zeros((16, 16, 3), np.uint8)
        raise RunError("the replay differs")

    with pytest.raises(RunError, match="the replay differs"):
        write_video(tmp_path / "a.mp4", broken(), fps=20)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [64, 250, 256, 512])
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_columns_stand_side_by_side(size: int, columns: int) -> None:
    records = [made_up_record(sampler=f"sampler_{number}") for number in range(columns)]
    frame = Overlay(records, LONG, size).frame([moment(8, size)] * columns)
    gap = (frame.shape[1] - columns * size) // max(columns - 1, 1)
    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    assert frame.shape[1] == columns * size + (columns - 1) * gap
    pictures = share(frame, (GREY, GREY, GREY)).sum(0) >= size
    expected = np.zeros(frame.shape[1], bool)
    for column in range(columns):
        expected[column * (size + gap) : column * (size + gap) + size] = True
    assert (pictures == expected).all(), "every picture is whole, and nothing is drawn over it"


def test_columns_that_were_told_different_things_say_so() -> None:
    told = [made_up_record(instruction=text) for text in ("open the drawer", "close the drawer")]
    same = [made_up_record(instruction="open the drawer")] * 2
    apart, alike = (Overlay(records, "open the drawer", 256).frame([moment(8)] * 2) for records in (told, same))
    band = slice(0, apart.shape[0] - 256 - 40)  # above the pictures
    right = slice(apart.shape[1] // 2 + 10, apart.shape[1] // 2 + 120)
    assert (apart[22:38, right] != alike[22:38, right]).any()
    assert (apart[band, :120] == alike[band, :120]).all()


def test_the_outcome_is_shown_at_the_end_and_stays() -> None:
    records = [made_up_record(steps=16, success=True), made_up_record(sampler="other", steps=40, success=False)]
    overlay = Overlay(records, LONG, 256)
    under_way = overlay.frame([moment(8), moment(8)])
    assert not share(under_way, SUCCESS).any()
    assert not share(under_way, FAILURE).any()
    one_ended = overlay.frame([moment(16), moment(32)])
    left, right = one_ended[:, :256], one_ended[:, 256:]
    assert share(left, SUCCESS).sum() > 2000
    assert not share(right, SUCCESS).any()
    both = overlay.frame([moment(16), moment(40)])
    assert share(both[:, 256:], FAILURE).sum() > 2000
    assert (both[:, :256] == left).all()


def ink(curve: QCurve, step: int) -> np.ndarray:
    """Rows of the curve's line in each column of 200 pixels, NaN where there is none."""
    image = np.asarray(curve.draw(step, (200, 40))).astype(int)
    line = np.abs(image - np.array(CURVE)).sum(-1) < 60
    rows = np.where(line, np.arange(40)[:, None], -1)
    return np.where(line.any(0), rows.max(0), np.nan)


def test_q_is_drawn_up_to_the_step_reached() -> None:
    curve = QCurve([1.0, 3.0, 2.0], execute=8, axes=Axes(20, 1.0, 3.0))
    assert [curve.at(step) for step in (0, 1, 8, 9, 16, 17, 20)] == [1, 1, 1, 3, 3, 2, 2]
    for step in (4, 12, 20):
        drawn = ink(curve, step)
        assert np.isfinite(drawn[: step * 10 - 4]).all()
        assert np.isnan(drawn[step * 10 + 4 :]).all()
    heights = ink(curve, 20)
    first, second, third = heights[40], heights[120], heights[180]
    assert second < third < first, "higher Q stands higher"
    assert third - second == pytest.approx(first - third, abs=1.5), "to scale"


def test_curves_side_by_side_share_their_axes() -> None:
    axes = Axes.around([[1.0, 2.0], [4.0]], steps=100)
    assert axes == Axes(100, 1.0, 4.0)
    level = QCurve([2.0, 2.0], execute=8, axes=Axes.around([[2.0, 2.0]], steps=16))
    assert ink(level, 16)[100] == pytest.approx(20, abs=2), "a constant Q lies in the middle"


def test_without_a_critic_there_is_no_curve() -> None:
    valued, unvalued = made_up_record(), made_up_record(q=None, mean_q=None)
    with_q = Overlay([valued], LONG, 256).frame([moment(20)])
    without = Overlay([unvalued], LONG, 256).frame([moment(20)])
    assert share(with_q, CURVE, 30).sum() > 50
    assert not share(without, CURVE, 30).any()
    assert without.shape[0] < with_q.shape[0]
    mixed = Overlay([valued, unvalued], LONG, 256).frame([moment(20), moment(20)])
    assert share(mixed[:, :256], CURVE, 30).sum() > 50
    assert not share(mixed[:, 256:], CURVE, 30).any()


def test_text_fits() -> None:
    font = Scale(256).font(12)
    lines = wrapped(LONG, font, 240, 2)
    assert " ".join(lines) == LONG
    assert len(lines) == 2
    assert all(font.getlength(line) <= 240 for line in lines)
    cut = wrapped(f"{LONG} and {LONG}", font, 240, 2)
    assert len(cut) == 2
    assert cut[1].endswith("...")
    assert font.getlength(cut[1]) <= 240
    assert fitted("can", font, 240) == "can"


@pytest.mark.parametrize("letter", "éŁŠřωЖأאĂ→≤✓")
def test_letters_of_many_scripts_are_drawn(letter: str) -> None:
    """What a typeface lacks is the box of a character that does not exist."""

    def drawn(text: str) -> bytes:
        return bytes(Scale(256).font(12).getmask(text))

    assert drawn(letter) != drawn("\uffff")


def test_a_contact_sheet(tmp_path: Path) -> None:
    shades = [np.full((128, 128, 3), 20 + 25 * number, np.uint8) for number in range(COLUMNS)]
    pictures = np.stack([np.repeat(np.repeat(shade, 2, 0), 2, 1) for shade in shades])
    steps = [5 * number for number in range(COLUMNS)]
    lost_record = made_up_record(sampler="other", strength=0.6, steps=steps[-1], success=False)
    won = row(DrawnEpisode(made_up_record(steps=steps[-1], success=True), steps, pictures), LONG)
    lost = row(DrawnEpisode(lost_record, steps, pictures), LONG)
    write_sheet(tmp_path / "new" / "sheet.png", [won, lost])
    picture = np.asarray(Image.open(tmp_path / "new" / "sheet.png").convert("RGB"))
    for shade in shades:
        area = share(picture, tuple(shade[0, 0])).sum()
        assert 2 * 128 * 128 * 0.9 < area <= 2 * 128 * 128, "all of it but the step in its corner, in both rows"
    half = picture.shape[0] // 2
    assert share(picture[:half], SUCCESS).any()
    assert not share(picture[:half], FAILURE).any()
    assert share(picture[half:], FAILURE).any()
    assert picture.shape[0] == len(won) + len(lost)

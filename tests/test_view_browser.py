"""The page over run folders in a browser. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as ec
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks import made_run
from benchmarks.chromium import DESKTOP, PHONE, choose, has_chromium, open_chromium, resize
from sim_eval.runs.run_folder import lock
from sim_eval.runs.videos import update_index
from sim_eval.video.encode import write_video
from tests import hostile_runs
from tests.view_server import serving

pytestmark = pytest.mark.skipif(not has_chromium(), reason="no chromium and chromedriver on the path")

SAMPLERS = {"unsteered": [0, 1] * 40, "qpilots_u": [1] * 70 + [0] * 10}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = open_chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sound runs, one with a video, among hostile ones."""
    root = tmp_path_factory.mktemp("page") / "runs"
    hostile_runs.write(root)
    for task in ("can", "lift"):
        made_run.write(root / task, task, SAMPLERS)
    video = root / "can" / "film.mp4"
    write_video(video, [np.full((64, 64, 3), shade, np.uint8) for shade in range(30)], fps=20)
    update_index(root / "can", {video: (("qpilots_u", 3),)})
    films = {root / "lift" / f"{sampler}.mp4": ((sampler, 2),) for sampler in SAMPLERS}
    for film in films:
        film.write_bytes(video.read_bytes())
    update_index(root / "lift", films)
    for name in "ab":
        made_run.write(root / "suite" / name, f"suite_{name}", SAMPLERS)
    made_run.write(root / "shared", "shared", {**SAMPLERS, "best_of_n": SAMPLERS["unsteered"]})
    both = tuple((sampler, 1) for sampler in SAMPLERS)
    update_index(root / "shared", {root / "lift" / "unsteered.mp4": (("best_of_n", 1),), video: both})
    return root


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with serving(root) as address:
        yield address


@pytest.fixture
def page(browser: webdriver.Chrome, address: str) -> webdriver.Chrome:
    resize(browser, DESKTOP)
    browser.get(address)
    wait(browser, "23 runs")
    return browser


def wait(page: webdriver.Chrome, runs: str) -> None:
    """Until the page says so about its runs."""
    WebDriverWait(page, 20).until(lambda shown: shown.find_element(By.ID, "run-count").text == runs)


def names(page: webdriver.Chrome) -> list[str]:
    return [cell.text for cell in page.find_elements(By.CSS_SELECTOR, ".runs tbody th")]


def test_hostile_folders_are_text(page: webdriver.Chrome) -> None:
    assert page.title == "sim-eval view"
    assert not page.find_elements(By.CSS_SELECTOR, "img")
    assert any(hostile_runs.MARKUP in name for name in names(page))
    choose(page, "state", "broken")
    wait(page, "15 of 23 runs")
    assert all(row.text for row in page.find_elements(By.CSS_SELECTOR, "td.problem"))
    choose(page, "state", "all")
    wait(page, "23 runs")
    page.find_element(By.PARTIAL_LINK_TEXT, "<img").click()  # its report
    WebDriverWait(page, 20).until(lambda shown: "Steering on made" in shown.title)
    assert not page.find_elements(By.CSS_SELECTOR, "img[src=x]")
    assert page.get_log("browser") == []


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_page_fits(page: webdriver.Chrome, size: tuple[int, int]) -> None:
    resize(page, size)
    root = "document.documentElement"
    assert page.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    assert page.execute_script("return innerWidth") == size[0]
    if size == PHONE:
        WebDriverWait(page, 5).until(lambda shown: shown.find_elements(By.CSS_SELECTOR, ".scroll.cut table.runs"))


def test_filters_narrow_runs_and_episodes(page: webdriver.Chrome) -> None:
    def episodes() -> str:
        return page.find_element(By.ID, "episode-count").text

    choose(page, "task", "can")
    wait(page, "1 of 23 runs")
    assert names(page) == ["can"]
    assert episodes().startswith("160 of ")
    choose(page, "sampler", "qpilots_u")
    choose(page, "outcome", "failure")
    WebDriverWait(page, 5).until(lambda _: episodes().startswith("10 of "))
    page.find_element(By.NAME, "episode").send_keys("75")
    WebDriverWait(page, 5).until(lambda _: episodes().startswith("1 of "))
    assert page.find_element(By.CSS_SELECTOR, ".episodes tbody th").text == "▸ can 75"
    page.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    wait(page, "23 runs")
    page.find_element(By.NAME, "text").send_keys("lift qpilots")
    wait(page, "1 of 23 runs")
    assert names(page) == ["lift"]
    more = page.find_element(By.ID, "more")
    page.execute_script("arguments[0].click()", more)
    WebDriverWait(page, 5).until(lambda _: "the first 100 shown" in episodes())


def test_an_episode_opens_and_its_video_plays(page: webdriver.Chrome) -> None:
    choose(page, "task", "can")
    page.find_element(By.NAME, "video").click()
    WebDriverWait(page, 5).until(lambda shown: len(shown.find_elements(By.CSS_SELECTOR, ".episodes tbody tr")) == 1)
    page.find_element(By.CSS_SELECTOR, ".episodes tbody button").click()
    page.execute_script("document.querySelector('video').play()")
    playing = "return document.querySelector('video').currentTime > 0"
    WebDriverWait(page, 20).until(lambda shown: shown.execute_script(playing))
    assert page.execute_script("return document.querySelector('video').videoWidth") == 64
    assert page.get_log("browser") == []


def test_success_is_drawn_in_the_samplers_colours(page: webdriver.Chrome) -> None:
    choose(page, "task", "can")
    wait(page, "1 of 23 runs")
    bars = page.find_elements(By.CSS_SELECTOR, ".runs .share .bar")
    assert [bar.get_attribute("class") for bar in bars] == ["bar s0", "bar s3"]
    filled = (
        "const { width } = arguments[0].firstChild.getBoundingClientRect(); return width / arguments[0].clientWidth"
    )
    assert [page.execute_script(filled, bar) for bar in bars] == pytest.approx([0.5, 0.875], abs=0.01)
    assert page.get_log("browser") == []


def test_videos_of_one_start_open_beside_each_other(page: webdriver.Chrome) -> None:
    choose(page, "task", "lift")
    page.find_element(By.NAME, "video").click()
    WebDriverWait(page, 5).until(lambda shown: len(shown.find_elements(By.CSS_SELECTOR, ".episodes tbody tr")) == 2)
    page.find_element(By.CSS_SELECTOR, ".episodes tbody button").click()
    captions = [caption.text for caption in page.find_elements(By.CSS_SELECTOR, ".detail figcaption")]
    assert [caption.split(":")[0] for caption in captions] == ["unsteered", "qpilots_u"]
    tops = {film.rect["y"] for film in page.find_elements(By.CSS_SELECTOR, ".detail video")}
    assert len(tops) == 1


def test_runs_of_one_folder_stand_together(page: webdriver.Chrome) -> None:
    groups = page.find_elements(By.CSS_SELECTOR, ".runs tr.suite")
    assert "suite/ 2 runs" in [group.text for group in groups]
    (link,) = page.find_elements(By.LINK_TEXT, "suite/")
    assert str(link.get_attribute("href")).count("run=") == 2
    order = names(page)
    assert order.index("suite/a") + 1 == order.index("suite/b") or order.index("suite/b") + 1 == order.index("suite/a")


def test_a_video_that_two_samplers_share_is_shown_once(page: webdriver.Chrome) -> None:
    choose(page, "task", "shared")
    page.find_element(By.NAME, "video").click()
    WebDriverWait(page, 5).until(lambda shown: len(shown.find_elements(By.CSS_SELECTOR, ".episodes tbody tr")) == 3)
    page.find_element(By.CSS_SELECTOR, ".episodes tbody button").click()
    assert len(page.find_elements(By.CSS_SELECTOR, ".detail figure")) == 2


def test_any_two_runs_are_compared(page: webdriver.Chrome) -> None:
    compare = page.find_element(By.CSS_SELECTOR, "#compare button")
    assert not compare.is_enabled()
    for name in ("can", "lift"):
        choose(page, "task", name)
        wait(page, "1 of 23 runs")
        WebDriverWait(page, 5).until(ec.text_to_be_present_in_element((By.CSS_SELECTOR, ".runs tbody th"), name))
        page.find_element(By.CSS_SELECTOR, ".runs input").click()
    assert compare.text == "compare 2"
    compare.click()
    WebDriverWait(page, 30).until(lambda shown: shown.title.startswith("Steering on"))
    assert {"can flow", "lift flow"} <= {
        span.text for span in page.find_elements(By.CSS_SELECTOR, ".results tr.group span")
    }
    assert page.find_elements(By.CSS_SELECTOR, "table.episodes tbody button")  # its script was allowed to run
    assert page.get_log("browser") == []


def test_a_running_run_is_refreshed(page: webdriver.Chrome, root: Path) -> None:
    folder = made_run.write(root / "growing", "square", {"unsteered": [1] * 20})
    lines = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "records.jsonl").write_bytes(b"".join(lines[:5]))
    row = "return document.querySelector('.runs tbody tr:has([title=growing])')?.innerText ?? ''"

    def shows(*words: str) -> None:
        WebDriverWait(page, 20).until(lambda shown: all(word in shown.execute_script(row) for word in words))

    with lock(folder):
        shows("running", "5 of 20")
        (folder / "records.jsonl").write_bytes(b"".join(lines[:12]))
        shows("running", "12 of 20")
        (folder / "records.jsonl").write_bytes(b"".join(lines))
    shows("ended", "20 of 20")

"""The report in a browser: Debian's chromium, driven from here. Skipped where there is none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks import made_run
from benchmarks.chromium import DESKTOP, PHONE, choose, has_chromium, open_chromium, resize
from sim_eval.analysis.compare import compare
from sim_eval.report.comparison import HTML, write
from sim_eval.runs.videos import update_index
from sim_eval.video.encode import write_video

pytestmark = pytest.mark.skipif(not has_chromium(), reason="no chromium and chromedriver on the path")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks; in the first, episode 0 has a video a sampler, and two samplers share one of episode 1."""
    folder = tmp_path_factory.mktemp("report")
    half, most = [0, 1] * 60, [1] * 100 + [0] * 20
    runs = [
        made_run.write(folder / task, task, {"unsteered": half, "qpilots_u": most, "best_of_n": most[::-1]})
        for task in ("one", "two")
    ]
    films = [folder / "videos" / f"{name}.mp4" for name in ("unsteered", "qpilots_u", "best_of_n", "side by side")]
    for film in films:
        write_video(film, [np.full((64, 64, 3), shade, np.uint8) for shade in range(30)], fps=20)
    shown = {film: ((film.stem, 0),) for film in films[:3]} | {films[3]: (("unsteered", 1), ("best_of_n", 1))}
    update_index(runs[0], shown)
    write(compare(runs), folder)
    return folder / HTML


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = open_chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, report: Path) -> webdriver.Chrome:
    resize(browser, DESKTOP)
    browser.get(report.as_uri())
    browser.execute_script("document.querySelector('details.fold').open = true")
    return browser


def rows(page: webdriver.Chrome) -> list[str]:
    """The names of the episodes shown."""
    return [button.text[2:] for button in page.find_elements(By.CSS_SELECTOR, "table.episodes tbody th button")]


def status(page: webdriver.Chrome) -> str:
    return page.find_element(By.CSS_SELECTOR, ".count").text


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_is_silent(page: webdriver.Chrome, size: tuple[int, int], scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    resize(page, size)
    page.refresh()
    root = "document.documentElement"
    assert page.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    assert page.execute_script("return innerWidth") == size[0]
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(16, 21, 28)")
    assert page.get_log("browser") == []


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_words_of_a_plot_are_readable(page: webdriver.Chrome, size: tuple[int, int]) -> None:
    resize(page, size)
    panels = page.execute_script(
        """
        const ends = ({ left, top, right, bottom }) => [left, top, right, bottom];
        const box = (element) => ends(element.getBoundingClientRect());
        const words = (panel) => [...panel.querySelectorAll("svg text")].map((text) => [text.textContent, box(text)]);
        return [...document.querySelectorAll(".panel")].map((panel) => [box(panel), words(panel)]);
        """
    )
    assert len(panels) == 8
    for (left, top, right, bottom), texts in panels:
        assert len(texts) > 8
        for text, box in texts:
            assert left < box[0] < box[2] < right, text
            assert top < box[1] < box[3] < bottom, text
            assert min(box[2] - box[0], box[3] - box[1]) > 6, text
        for (text, a), (other, b) in itertools.combinations(texts, 2):
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 3 or b[3] <= a[1] + 3
            assert apart, (text, other)
    font = "return [document.body, document.querySelector('.plot text')].map((e) => getComputedStyle(e).fontFamily)"
    assert len(set(page.execute_script(font))) == 1


def test_the_pointer_finds_every_mark_that_no_other_covers(page: webdriver.Chrome) -> None:
    found = page.execute_script(
        """
        return [...document.querySelectorAll(".plot g > title")].map((title) => {
          title.parentNode.scrollIntoView({ block: "center" });
          const { left, right, top, bottom } = title.parentNode.querySelector("use").getBoundingClientRect();
          const there = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
          return there.closest("g:has(> title)")?.firstElementChild.textContent;
        });
        """
    )
    assert len(found) > 30
    assert all(found)


def test_rows_are_drawn_as_they_are_asked_for(page: webdriver.Chrome) -> None:
    assert (len(rows(page)), status(page)) == (50, "240 starts, the first 50 shown")
    more = page.find_element(By.CSS_SELECTOR, "button.more")
    page.execute_script("arguments[0].click()", more)
    assert (len(rows(page)), status(page)) == (100, "240 starts, the first 100 shown")


def test_the_filter_finds_what_it_is_asked_for(page: webdriver.Chrome) -> None:
    choose(page, "table", "one flow")
    choose(page, "sampler", "qpilots_u")
    choose(page, "outcome", "broken")
    # unsteered solves the odd ones, qpilots_u all but the last twenty
    assert rows(page) == [f"one flow {episode}" for episode in range(101, 120, 2)]
    assert status(page) == "10 of 240 starts"
    choose(page, "outcome", "rescued")
    assert status(page) == "50 of 240 starts"
    page.find_element(By.NAME, "text").send_keys("42")
    assert rows(page) == ["one flow 42"]
    page.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    WebDriverWait(page, 5).until(lambda shown: status(shown).startswith("240 starts"))
    page.find_element(By.NAME, "video").click()
    assert rows(page) == ["one flow 0", "one flow 1"]


def test_an_episode_opens_and_its_videos_play(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "table.episodes tbody button").click()
    films = page.find_elements(By.TAG_NAME, "video")
    assert len(films) == 3
    assert {film.get_attribute("preload") for film in films} == {"none"}
    assert "qpilots_u rescued (success after" in page.find_element(By.CSS_SELECTOR, ".detail").text
    page.execute_script(
        "[...document.querySelectorAll('.detail button')].find((b) => b.textContent === 'play all').click()"
    )
    playing = "return [...document.querySelectorAll('video')].every((film) => film.currentTime > 0)"
    WebDriverWait(page, 20).until(lambda shown: shown.execute_script(playing))
    for film in films:
        assert page.execute_script("return arguments[0].videoWidth", film) == 64
    assert page.get_log("browser") == []
    page.find_element(By.CSS_SELECTOR, "table.episodes tbody button").click()
    assert not page.find_elements(By.CSS_SELECTOR, ".detail")


def test_samplers_filmed_side_by_side_share_their_video(page: webdriver.Chrome) -> None:
    page.find_elements(By.CSS_SELECTOR, "table.episodes tbody button")[1].click()
    (film,) = page.find_elements(By.TAG_NAME, "video")
    assert str(film.get_attribute("src")).endswith("/videos/side%20by%20side.mp4")
    caption = page.find_element(By.CSS_SELECTOR, "figure.shared figcaption").text
    assert [line.split()[0] for line in caption.splitlines()] == ["unsteered", "best_of_n"]
    assert len(page.find_elements(By.CSS_SELECTOR, ".videos figure")) == 2  # qpilots_u, not filmed, has a caption


def test_a_column_of_a_strip_leads_to_its_episode(page: webdriver.Chrome) -> None:
    lane = page.find_elements(By.CSS_SELECTOR, ".strip")[1].find_elements(By.CSS_SELECTOR, ".lane > svg")[0]
    lane.click()
    WebDriverWait(page, 5).until(lambda shown: shown.find_elements(By.CSS_SELECTOR, ".detail"))
    (name,) = rows(page)
    assert name.startswith("two flow ")
    assert "environment seed" in page.find_element(By.CSS_SELECTOR, ".detail").text


def test_episodes_are_folded_until_they_are_asked_for(page: webdriver.Chrome) -> None:
    page.refresh()
    table = page.find_element(By.CSS_SELECTOR, "table.episodes")
    assert not table.is_displayed()
    page.find_element(By.CSS_SELECTOR, "details.fold > summary").click()
    assert table.is_displayed()


def test_a_table_wider_than_a_phone_says_so_and_keeps_its_first_column(page: webdriver.Chrome) -> None:
    resize(page, PHONE)
    WebDriverWait(page, 5).until(lambda shown: shown.find_elements(By.CSS_SELECTOR, ".scroll.cut table.results"))
    box = page.find_element(By.CSS_SELECTOR, ".scroll.cut")
    hint = "return getComputedStyle(arguments[0], '::before').content"
    assert "scrolls sideways" in page.execute_script(hint, box)
    name = box.find_element(By.CSS_SELECTOR, "tbody tr:nth-child(2) th")
    before = name.rect["x"]
    page.execute_script("arguments[0].scrollLeft = 200", box)
    assert page.execute_script("return arguments[0].getBoundingClientRect().x", name) == pytest.approx(before, abs=2)
    resize(page, DESKTOP)
    WebDriverWait(page, 5).until(lambda shown: not shown.find_elements(By.CSS_SELECTOR, ".scroll.cut table.results"))


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_report_of_one_task_has_one_grid_of_charts_and_a_short_headline(
    browser: webdriver.Chrome, tmp_path: Path, size: tuple[int, int]
) -> None:
    outcomes = {"unsteered": [0, 1] * 60, "qpilots_u": [1] * 100 + [0] * 20}
    write(compare([made_run.write(tmp_path / "run", "made", outcomes)]), tmp_path)
    resize(browser, size)
    browser.get((tmp_path / HTML).as_uri())
    charts = browser.find_element(By.CSS_SELECTOR, "section[aria-labelledby=charts]")
    assert len(charts.find_elements(By.CSS_SELECTOR, ".legend")) == 1
    assert len(charts.find_elements(By.CSS_SELECTOR, ".panels > figure > .plot")) == 4
    lines = (
        "const style = getComputedStyle(arguments[0]); return arguments[0].clientHeight / parseFloat(style.lineHeight)"
    )
    assert round(browser.execute_script(lines, browser.find_element(By.TAG_NAME, "h1"))) <= 2

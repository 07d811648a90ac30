"""The report says what the figures say, in one file that needs nothing else."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

import sim_eval
from benchmarks import made_run
from sim_eval.analysis.compare import compare
from sim_eval.analysis.table import Table
from sim_eval.commands import compare as compare_command
from sim_eval.commands.cli import read_command
from sim_eval.foundation import formatting
from sim_eval.foundation.errors import RunError
from sim_eval.report.comparison import terminal, write
from sim_eval.report.episodes import starts, strips
from sim_eval.report.figures import Panel, panels
from sim_eval.report.headline import headline
from sim_eval.report.html import html
from sim_eval.report.markdown import markdown
from sim_eval.report.sampler_styles import styles_of
from sim_eval.runs.records import read
from sim_eval.runs.sweeps import Sweep, Trial, read_sweep
from sim_eval.runs.videos import update_index

HALF = [0, 1] * 20
MOST = [1] * 36 + [0] * 4
STYLES = {"qpilots_u": 3}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made_run.write(tmp_path / "run", "made", {"unsteered": HALF, "qpilots_u": MOST})


def plots(page: str) -> list[ElementTree.Element]:
    """Every plot in the page."""
    return [ElementTree.fromstring(drawing) for drawing in re.findall(r'<svg class="plot".*?</svg>', page, re.DOTALL)]


def sentences(tmp_path: Path, **runs: dict[str, list[int]]) -> str:
    folders = [made_run.write(tmp_path / task, task, outcomes) for task, outcomes in runs.items()]
    return " ".join(headline(compare(folders)))


def test_the_headline_names_winner_gain_and_certainty(tmp_path: Path) -> None:
    said = sentences(
        tmp_path,
        one={"unsteered": HALF, "qpilots_u": MOST, "best_of_n": MOST},
        two={"unsteered": HALF, "qpilots_u": [*HALF[2:], 1, 1], "best_of_n": [0] * 40},
    )
    assert said.startswith(
        "qpilots_u succeeds most often: 71 % against 50 % for unsteered. That is +21 points (95 % interval "
    )
    assert "over 80 paired episodes of one and two." in said
    assert "survives Holm's correction over all 6 comparisons of this report on one, not on two." in said
    assert "It also beats best_of_n on two." in said
    assert "best_of_n is worse than unsteered on two." in said


def test_the_headline_tells_what_only_all_tables_together_show(tmp_path: Path) -> None:
    """5 to 0 on each of four tasks: no single one is significant, 20 to 0 is."""
    outcomes = {"unsteered": [0] * 40, "best_of_n": [1] * 20 + [0] * 20, "qpilots_u": [1] * 25 + [0] * 15}
    said = sentences(tmp_path, one=outcomes, two=outcomes, three=outcomes, four=outcomes)
    assert "Over the pairs of all 4 tables together, it beats best_of_n (20 to 0)." in said
    assert "told apart" not in said
    report = markdown(compare([tmp_path / task for task in ("one", "two", "three", "four")]))
    assert "## All tables together" in report
    assert "| best_of_n | qpilots_u | 160 | 0/20 | 2e-6 |" in report


def test_the_headline_does_not_claim_what_is_not_shown(tmp_path: Path) -> None:
    nearly = sentences(tmp_path / "a", one={"unsteered": HALF, "qpilots_u": [1, *HALF[1:]]})
    assert "does not survive Holm's correction over the one comparison of this report" in nearly
    worse = sentences(tmp_path / "b", one={"unsteered": MOST, "qpilots_u": [0] * 40})
    assert worse.startswith("No sampler succeeds more often than unsteered, 90 % over 40 episodes of one.")
    assert worse.endswith("qpilots_u is worse than unsteered on one.")
    runs = [
        made_run.write(tmp_path / "d" / task, task, {"unsteered": HALF, "qpilots_u": MOST}) for task in ("one", "two")
    ]
    moved = {"qpilots_u": "moved", "unsteered": "there"}
    made_run.rewrite(
        runs[1], [dataclasses.replace(record, state_hash=moved[record.sampler]) for record in read(runs[1])]
    )
    unpaired = headline(compare(runs))[0]
    assert unpaired.startswith(
        "qpilots_u succeeds most often, 90 % over 80 episodes of one and two, but is not compared"
    )
    mixed = sentences(tmp_path / "e", one={"unsteered": MOST, "a": [0] * 40}, two={"unsteered": [0] * 40, "a": HALF})
    assert mixed.startswith("No sampler succeeds more often than unsteered, 45 % over 80 episodes of one and two.")
    assert mixed.endswith("a beats it on two. a is worse than unsteered on one.")
    level = sentences(tmp_path / "f", one={"unsteered": HALF, "a": [*HALF[1:], 0], "b": [0] * 40})
    assert level.startswith("No sampler succeeds more often than unsteered, 50 % over 40 episodes of one; a as often.")
    alone = sentences(tmp_path / "c", one={"unsteered": HALF})
    assert alone.startswith("unsteered succeeds in 50 % of 40 episodes of one; nothing ran")


def test_the_headline_compares_rates_over_the_same_episodes(tmp_path: Path) -> None:
    """Over its own episodes a would lead by 10 points; on those that both ran, it gains nothing."""
    runs = [
        made_run.write(tmp_path / "one", "made", {"unsteered": [1] * 20 + [0] * 20}),
        made_run.write(tmp_path / "two", "made", {"a": [1] * 20 + [0] * 10}),
    ]
    assert headline(compare(runs))[0].startswith("No sampler succeeds more often than unsteered, 50 % over 40 episodes")
    made_run.write(tmp_path / "two", "made", {"a": [1] * 24 + [0] * 6})
    said = headline(compare(runs))
    assert said[0] == "a succeeds most often: 80 % against 67 % for unsteered."
    assert said[1].startswith("That is +13 points (")
    assert "Judged on fewer episodes: a (30 of 40)." in said


def test_a_sampler_with_few_episodes_does_not_lead(tmp_path: Path) -> None:
    runs = [
        made_run.write(tmp_path / "one", "made", {"unsteered": HALF, "a": MOST}),
        made_run.write(tmp_path / "two", "made", {"b": [1] * 4}),
    ]
    assert headline(compare(runs))[0].startswith("a succeeds most often: 90 % against 50 %")


def test_the_headline_of_many_samplers_is_short(tmp_path: Path) -> None:
    names = [f"sampler_{number}" for number in range(30)]
    said = sentences(tmp_path, made={"unsteered": HALF} | {name: MOST for name in names})
    assert "level with sampler_1, sampler_2, sampler_3, sampler_4, sampler_5, sampler_6 and 23 others" in said
    assert len(said) < 1000


def test_the_headline_names_what_it_compares_with(tmp_path: Path) -> None:
    first = sentences(tmp_path / "a", one={"value_guided": HALF, "a": MOST, "b": MOST})
    assert first.startswith(
        "a, level with b, succeeds most often: 90 % against 50 % for value_guided. That is +40 points ("
    )
    assert first.endswith("rows for value_guided.")
    apart = sentences(tmp_path / "b", one={"unsteered": HALF, "a": MOST}, two={"best_of_n": HALF, "a": MOST})
    assert apart.startswith("a succeeds most often, 90 % over 80 episodes of one and two, but is not compared with the")


def test_without_the_baselines_episodes_the_rest_is_compared(tmp_path: Path) -> None:
    run = made_run.write(tmp_path, "made", {"unsteered": HALF, "a": HALF, "b": MOST})
    made_run.rewrite(
        run, [dataclasses.replace(x, error="boom" if x.sampler == "unsteered" else None) for x in read(run)]
    )
    assert headline(compare([run]))[0] == "b succeeds most often: 90 % against 50 % for a."
    made_run.rewrite(run, [dataclasses.replace(x, error="boom") for x in read(run)])
    assert headline(compare([run])) == ["Every episode of made ended in an error."]


def test_a_full_disk_does_not_keep_the_table(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report" / "summary.json").mkdir(parents=True)  # so that the file cannot be written
    with pytest.raises(RunError, match="cannot write"):
        compare_command.run(read_command("compare", [str(run), f"output={tmp_path / 'report'}"]))
    assert "qpilots_u succeeds most often: 90 % against 50 %" in capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_fits_the_terminal(tmp_path: Path, width: int) -> None:
    name = "qpilots_with_a_name_of_its_own"
    runs = [made_run.write(tmp_path / "run", "made", {"unsteered": HALF, name: MOST})]
    head, *table = terminal(compare(runs), width).split("\n\n")[0].splitlines()[1:]
    assert head.split()[0] == "sampler"
    assert "difference %" in head
    assert max(map(len, [head, *table])) <= width
    assert any("(no room for posterior" in line for line in table)
    full = terminal(compare(runs), 300)
    assert name in full
    assert "no room" not in full


@pytest.mark.parametrize("width", [60, 80])
def test_sentences_break_between_words(tmp_path: Path, width: int) -> None:
    outcomes = {"unsteered": HALF, **{f"a_sampler_with_a_name_{number}": MOST for number in range(4)}}
    comparison = compare([made_run.write(tmp_path / "run", "made", outcomes)])
    text = terminal(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    assert " ".join(headline(comparison)) in " ".join(text.split())


def test_the_best_row_is_marked_on_a_terminal_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compare([run])
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = terminal(comparison, 200, marked=True)
    (best,) = [line for line in coloured.splitlines() if "qpilots_u *" in line]
    assert best.startswith("\x1b[1;32m")
    assert best.endswith("\x1b[0m")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = terminal(comparison, 200, marked=True)
    assert "qpilots_u *" in plain
    assert "\x1b" not in plain
    assert "qpilots_u *" not in terminal(comparison, 200), "the tests write to no terminal"


def test_names_and_errors_are_no_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)<script>|`x`[a](b)"
    runs = [
        made_run.write(tmp_path / name, "made", {"unsteered": HALF}, {"sampler": {"unsteered": {"n": name}}})
        for name in (evil, "plain")
    ]
    records = read(runs[1])
    made_run.rewrite(runs[1], [dataclasses.replace(records[0], error=f"boom\n{evil}"), *records[1:]])
    write(compare(runs), tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "<script>" not in re.sub("``.*?``", "", text)  # code spans show it as it is
    (row,) = [line for line in text.splitlines() if line.startswith("| unsteered n=&lt;script") and "| - |" in line]
    assert r"&gt;\|\`x\`\[a\](b) | -" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 17
    assert r"(0): boom &lt;script&gt;alert(1)" in text
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script>alert" not in page
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["tables"][0]["rows"][0]["label"] == f"unsteered n={evil}"


def test_every_format_holds_the_figures(run: Path, tmp_path: Path) -> None:
    comparison = compare([run])
    lines = terminal(comparison).splitlines()
    assert lines[0] == "task=made policy=flow"
    assert lines[3].split()[:6] == ["qpilots_u", "-", "40", "90", "77-96", "18/2"]
    write(comparison, tmp_path / "new" / "folder")
    written = tmp_path / "new" / "folder"
    summary = json.loads((written / "summary.json").read_text())
    (table,) = summary["tables"]
    assert [row["sampler"] for row in table["rows"]] == ["unsteered", "qpilots_u"]
    assert table["rows"][1]["pairing"]["won"] == 18
    assert summary["runs"][0]["config"]["episodes"] == 40
    assert (written / "report.md").read_text().count("| qpilots_u |") == 2  # the table, and every pair
    page = (written / "report.html").read_text()
    for figure in ("77\u201396", "18 / 2", "+40 ", "qpilots_u succeeds most often: 90 % against 50 %", "mujoco 3.3.7"):
        assert figure in page


def test_jerk_is_shown_relative_to_unsteered_where_it_is_known(run: Path, tmp_path: Path) -> None:
    def shown() -> list[bool]:
        comparison = compare([run])
        write(comparison, tmp_path / "out")
        written = [(tmp_path / "out" / name).read_text() for name in ("report.md", "report.html", "summary.json")]
        return [bool(re.search('jerk[,"]', text)) for text in (terminal(comparison, 1000), *written)]

    assert shown() == [False] * 4, "runs of earlier versions recorded none"
    jerk = {"unsteered": 0.4, "qpilots_u": 0.6}
    records = [dataclasses.replace(record, jerk=jerk[record.sampler]) for record in read(run)]
    made_run.rewrite(run, [dataclasses.replace(records[0], jerk=None), *records[1:]])
    assert shown() == [True] * 4
    comparison = compare([run])
    lines = terminal(comparison, 1000).splitlines()
    assert lines[1].endswith("jerk, \u00d7 unsteered")
    assert [line.split()[-1] for line in lines[2:4]] == ["1.00", "1.50"]
    assert "(no room for jerk" in terminal(comparison, 120)
    assert "| 1.50 |" in markdown(comparison)
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html(comparison, run), re.DOTALL)
    assert [row.count("<td") for row in rows[:2]] == [14, 14]
    assert "<td>1.50</td>" in rows[1]
    (table,) = json.loads((tmp_path / "out" / "summary.json").read_text())["tables"]
    assert [row["jerk"] for row in table["rows"]] == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize("jerk", [{"unsteered": None, "a": 0.6}, {"unsteered": 0.0, "a": 0.6}, {"b": 0.4, "a": 0.6}])
def test_jerk_is_not_shown_relative_to_nothing(tmp_path: Path, jerk: Mapping[str, float | None]) -> None:
    folder = made_run.write(tmp_path, "made", {sampler: HALF for sampler in jerk})
    made_run.rewrite(folder, [dataclasses.replace(record, jerk=jerk[record.sampler]) for record in read(folder)])
    assert "jerk" not in terminal(compare([folder]))


def test_a_mark_stands_only_where_a_difference_survives(tmp_path: Path) -> None:
    folder = made_run.write(tmp_path, "made", {"unsteered": HALF, "a": MOST, "b": [1, *HALF[1:]]})
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html(compare([folder]), folder), re.DOTALL)
    marked = ["★" in row for row in rows[:3]]
    assert marked == [False, True, False]


def test_the_page_needs_nothing_from_elsewhere(run: Path) -> None:
    page = html(compare([run]), run)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"^\s*// .*$", "", page, flags=re.MULTILINE))
    assert not re.search(r"<link|<img|<iframe|<script[^>]+src", page)


def test_every_picture_has_words(run: Path) -> None:
    page = html(compare([run]), run)
    pictures = re.findall(r"<svg[^>]*>", page)
    assert len(pictures) > 10
    for picture in pictures:
        assert 'aria-hidden="true"' in picture or re.search(r'aria-label="[^"]{10,}"', picture)


def test_text_of_a_record_is_no_markup(run: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    made_run.rewrite(
        run, [dataclasses.replace(record, error=evil if record.episode == 3 else None) for record in read(run)]
    )
    page = html(compare([run]), run)
    assert evil not in page
    assert "made unsteered: 1 episodes ended in an error (3): &lt;/script&gt;" in page


def test_warnings_stand_above_the_figures(run: Path) -> None:
    update_index(run, {run / "gone.mp4": tuple((record.sampler, record.episode) for record in read(run))})
    page = html(compare([run]), run)
    assert 0 < page.index("80 of 80 recorded videos are missing") < page.index('id="results"')


def test_the_strip_tells_rescued_from_broken(tmp_path: Path) -> None:
    folder = made_run.write(tmp_path, "made", {"unsteered": [0, 1, 0, 1], "a": [1, 0, 0, 1]})
    (table,) = compare([folder]).tables
    group = starts(table)
    assert [start.outcomes for start in group] == [{"a": "rescued"}, {"a": "broken"}, {"a": "neither"}, {"a": "both"}]
    (drawn,) = strips(table, group)
    assert list(drawn.order) == [2, 0, 1, 3]  # failed by the reference, then solved; each from hard to easy
    assert drawn.rows[1].counts == {"neither": 1, "rescued": 1, "broken": 1, "both": 1}
    assert drawn.rows[1].paths["rescued"] == "M1 0h1v1h-1z"
    assert drawn.rows[0].paths == {"neither": "M0 0h2v1h-2z", "both": "M2 0h2v1h-2z"}


def test_each_lane_is_judged_by_its_own_reference(tmp_path: Path) -> None:
    outcomes = {"one": {"unsteered": [0, 0, 0], "a": [1, 1, 0]}, "two": {"unsteered": [1, 1, 1], "a": [1, 1, 0]}}
    runs = [
        made_run.write(tmp_path / name, "made", samplers, {"sampler": {"unsteered": {"n": name}, "a": {"n": name}}})
        for name, samplers in outcomes.items()
    ]
    (table,) = compare(runs).tables
    drawn = {strip.title: {row.label: row.counts for row in strip.rows} for strip in strips(table, starts(table))}
    assert drawn["made flow, against unsteered n=one"]["unsteered n=one"] == {"neither": 3}
    assert drawn["made flow, against unsteered n=one"]["a n=one"] == {"rescued": 2, "neither": 1}
    assert drawn["made flow, against unsteered n=two"]["a n=two"] == {"both": 2, "broken": 1}
    assert "a n=one" not in drawn["made flow, against unsteered n=two"]


def swept(task: str, trials: Sequence[Trial]) -> Panel:
    (panel,) = panels([Table(task, "flow", [])], STYLES, {f"{task} flow": trials})["strengths"]
    return panel


def test_an_over_optimised_critic_is_told() -> None:
    trials = [
        Trial("qpilots_u", strength, 50, successes, (0.1, 0.9), q)
        for strength, successes, q in [(0.5, 40, 1.0), (1.0, 45, 2.0), (2.0, 30, 3.0)]
    ]
    assert (
        swept("can", trials).note == "Q rises while success falls (50 episodes a strength, Fisher's exact p < 0.05): "
        "qpilots_u from 1 to 2: success 90 to 60 %, Q 2.0 to 3.0."
    )
    assert not panels([Table("lift", "flow", [])], STYLES, {"can flow": trials})["strengths"]
    assert swept("can", trials[:2]).note == ""
    noise = [*trials[:2], Trial("qpilots_u", 2.0, 50, 42, (0.1, 0.9), 3.0)]
    assert swept("can", noise).note == "", "45 and 42 of 50 may well be equal"


def test_a_plot_wears_the_colours_and_the_font_of_the_page(run: Path) -> None:
    page = html(compare([run]), run)
    light, dark = re.findall(r":root \{(.*?)\n *\}", page, re.DOTALL)
    for plot in plots(page):
        styles = " ".join(element.get("style", "") for element in plot.iter())
        used = set(re.findall(r"var\(--(\w+)\)", styles))
        assert used > {"soft", "s0", "s3"}
        assert all(f"--{name}:" in light and f"--{name}:" in dark for name in used)
        assert not re.search("#|rgb|font-family", styles)
        assert not list(plot.iter("style"))
        assert [text.text for text in plot.iter("text")]
    legend = re.findall(r'<svg class="s(\d)".*?<polygon points="([^"]+)"', page)
    assert {number for number, _ in legend} == {"0", "3"}
    assert len(set(legend)) == 2


def test_ids_are_unique_in_the_page_and_what_is_referred_to_is_there(tmp_path: Path) -> None:
    folders = [made_run.write(tmp_path / task, task, {"unsteered": HALF, "a": MOST}) for task in ("one", "two")]
    page = html(compare(folders), tmp_path)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    used = [
        name for plot in plots(page) for name in re.findall(r"#([0-9a-z]+)\b", ElementTree.tostring(plot, "unicode"))
    ]
    assert used
    assert set(used) <= set(ids)


def test_a_mark_says_on_hover_what_it_is(run: Path) -> None:
    page = html(compare([run]), run)
    titles = [title.text for plot in plots(page) for title in plot.iter("title")]
    assert "qpilots_u: 90 % (77-96)" in titles
    assert any(re.fullmatch(r"unsteered: 50 % \(35-65\), 3\.\d ms", str(title)) for title in titles)
    assert any(re.fullmatch(r"qpilots_u: Q near -?\d\.\d\d, \d+ of 20 succeed", str(title)) for title in titles)
    for plot in plots(page):
        for group in plot.findall(".//g[title]"):
            assert group[0].tag == "title"
            assert len(list(group.iter("use"))) == 1


def test_a_report_made_twice_is_the_same_whatever_the_user_set(run: Path, tmp_path: Path) -> None:
    write(compare([run]), tmp_path / "first")
    theirs: dict[Any, Any] = {"axes.grid": False, "svg.fonttype": "path", "font.size": 30, "svg.hashsalt": "salt"}
    with matplotlib.rc_context(theirs):
        write(compare([run]), tmp_path / "second")
        assert {name: matplotlib.rcParams[name] for name in theirs} == theirs
    first, second = ((tmp_path / name / "report.html").read_bytes() for name in ("first", "second"))
    assert first == second


def test_a_home_that_cannot_be_written_is_no_matter(run: Path, tmp_path: Path) -> None:
    hidden = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    program = "from sim_eval.commands.cli import main; main()"
    command = [sys.executable, "-c", program, "compare", str(run), f"output={tmp_path}"]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment | {"HOME": "/dev/null"})
    assert (answer.stderr, answer.returncode) == ("", 0)
    write(compare([run]), tmp_path / "here")
    assert (tmp_path / "report.html").read_bytes() == (tmp_path / "here" / "report.html").read_bytes()


def test_the_commands_start_without_the_plotting_library() -> None:
    named = ("commands.cli", "evaluation.evaluate", "analysis.compare", "view.server")
    modules = ", ".join(["sys", *(f"sim_eval.{name}" for name in named)])
    program = f"import {modules}; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_a_sampler_that_was_only_swept_has_a_style_of_its_own(run: Path, tmp_path: Path) -> None:
    trials = [Trial("mine", strength, 50, 25, (0.4, 0.6), 1.0) for strength in (0.5, 1.0)]
    page = html(compare([run]), run, sweeps=published(tmp_path, trials, made_run.CHECKPOINTS))
    assert "mine at 0.5: 25 of 50, 40-60 %" in page
    assert 'class="s1"' in page, "the first that neither unsteered nor qpilots_u has"


def test_a_sampler_looks_the_same_on_every_page() -> None:
    assert styles_of(["mine", "qpilots_u", "unsteered"]) == {"mine": 1, "qpilots_u": 3, "unsteered": 0}
    assert styles_of(["qpilots_u"]) == {"qpilots_u": 3}
    many = styles_of([f"mine{number}" for number in range(20)])
    assert set(many.values()) == set(range(8))


def test_a_sweep_of_other_models_is_not_shown_beside_a_run(run: Path, tmp_path: Path) -> None:
    trials = [Trial("qpilots_u", strength, 50, 25, (0.4, 0.6), 1.0) for strength in (0.5, 1.0)]
    for checkpoints, shown in ((made_run.CHECKPOINTS, True), ({"policy": "another"}, False)):
        page = html(compare([run]), run, sweeps=published(tmp_path, trials, checkpoints))
        assert ("qpilots_u at 0.5: 25 of 50" in page) == shown


@pytest.mark.parametrize("field", ["successes", "interval", "mean_q"])
def test_a_sweep_of_wrong_types_is_named(tmp_path: Path, field: str) -> None:
    folder = published(tmp_path, [Trial("a", 1.0, 50, 25, (0.4, 0.6), 1.0)], {})
    path = folder / "made-flow-critic.json"
    stored = json.loads(path.read_text())
    stored["trials"][0][field] = "many"
    path.write_text(json.dumps(stored))
    with pytest.raises(RunError, match=r"made-flow-critic\.json holds no sweep"):
        read_sweep(path)


def published(folder: Path, trials: Sequence[Trial], checkpoints: Mapping[str, str]) -> Path:
    made = Sweep("tune", 0, 50, checkpoints, {}, tuple(trials))
    (folder / "made-flow-critic.json").write_text(json.dumps(dataclasses.asdict(made)))
    return folder


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-3.2, 7.9], [1e-4, 2e-4], [12.0, 900.0], [1e-3, 4.0, 5e3]])
def test_axes_hold_their_values_between_ticks(tmp_path: Path, values: list[float]) -> None:
    samplers = {f"s{index}": MOST for index in range(len(values))}
    folder = made_run.write(tmp_path, "made", samplers)
    value = dict(zip(samplers, values, strict=True))
    changed = [
        dataclasses.replace(
            record,
            cost=dataclasses.replace(record.cost, decision_ms=abs(value[record.sampler]) or 3.0),
            q=[value[record.sampler]],
        )
        for record in read(folder)
    ]
    made_run.rewrite(folder, changed)
    trials = [Trial("qpilots_u", abs(value) + 0.1, 50, 50, (0.9, 1.0), value) for value in values]
    drawn = plots(html(compare([folder]), folder) + swept("made", trials).drawing)
    assert len(drawn) == 5
    for plot in drawn:
        width, height = map(float, plot.attrib["viewBox"].split()[2:])
        for use in plot.findall(".//g[title]//use"):
            assert 0 < float(use.attrib["x"]) < width
            assert 0 < float(use.attrib["y"]) < height
        texts = [(text.text or "", text.attrib["style"]) for text in plot.iter("text")]
        ticks = [text for text, style in texts if "middle; fill: var(--soft)" in style and text[-1].isdigit()]
        assert len(set(ticks)) == len(ticks) >= 1


def test_long_and_odd_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ("plain", "$a_b$ <&> a run of a name that is longer than the plot is wide")
    runs = [
        made_run.write(tmp_path / name, "made", {"unsteered": MOST}, {"sampler": {"unsteered": {"n": name}}})
        for name in names
    ]
    page = html(compare(runs), tmp_path)
    texts = [text.text for text in plots(page)[0].iter("text")]
    label = f'unsteered n="{names[1]}"'
    assert f"…{label[-23:]}" in texts
    assert f"{label}: 90 % (77-96)" in [title.text for title in plots(page)[0].iter("title")]


def test_6000_records_make_a_small_page(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    outcomes = {
        name: list(generator.random(1200) < 0.6)
        for name in ("unsteered", "best_of_n", "value_guided", "qpilots_u", "qpilots_m")
    }
    made_run.write(tmp_path, "made", outcomes)
    write(compare([tmp_path]), tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 5e6


def test_per_cent_is_rounded_as_on_the_page_of_view() -> None:
    """Halves away from zero, of every count; the page computes Math.round(100 * successes / episodes)."""
    for n, won in ((count, won) for count in range(1, 201) for won in range(count + 1)):
        exact = (200 * won + n) // (2 * n)
        assert formatting.percent(won / n) == str(exact) == str(math.floor(100 * won / n + 0.5))
        assert formatting.signed(-won / n) == (f"-{exact}" if exact else "+0")
    assert (formatting.percent(5 / 8), formatting.signed(-3 / 8), formatting.percent(23 / 40)) == ("63", "-38", "58")
    page = (Path(sim_eval.__file__).parent / "view" / "templates" / "page.js").read_text()
    assert "Math.round((100 * successes) / of)" in page


def test_few_pairs_have_an_interval_of_some_width(tmp_path: Path) -> None:
    """Without discordant pairs nothing is known to within less than 30 points; three lost of eight, p = 0.25, are no
    difference."""
    outcomes = {"unsteered": [1] * 8, "qpilots_u": [1] * 8, "best_of_n": [1] * 5 + [0] * 3}
    said = terminal(compare([made_run.write(tmp_path / "run", "made", outcomes)]))
    assert "+0 [-32..32]" in said
    assert "-38 [-69..7]" in said
    alike = {"unsteered": [1] * 8, "qpilots_u": [1] * 8}
    (_, mean) = compare([made_run.write(tmp_path / task, task, alike) for task in ("one", "two")]).overall
    assert mean.interval == pytest.approx((-0.194, 0.194), abs=1e-3)  # of 16 pairs


def test_a_command_is_quoted_as_a_shell_reads_it(run: Path) -> None:
    account = json.loads((run / "provenance.json").read_text())
    words = ["sim-eval", "evaluate", "output=my run", "task.instruction=open $1; it's"]
    account[-1]["command"] = words
    (run / "provenance.json").write_text(json.dumps(account))
    comparison = compare([run])
    assert shlex.split(re.findall(r"`(sim-eval .*?)`", markdown(comparison))[0]) == words
    shown = re.findall(r"<pre>(sim-eval .*?)</pre>", html(comparison, run))
    assert shlex.split(unescape(shown[0])) == words

"use strict";
// The server filters; this page sends it the filters' values and draws the answer. Texts of run folders are set as
// text, never as markup.
(() => {
  const STEP = 50;
  const WAIT = 2000; // milliseconds between two looks for what has changed
  const filter = document.getElementById("filter");
  const narrow = document.getElementById("narrow");
  const compare = document.getElementById("compare");
  const [runs, episodes] = [...document.querySelectorAll("tbody")];
  const more = document.getElementById("more");
  const problem = document.getElementById("problem");
  const chosen = new Set(); // ids of the runs to compare
  let count = STEP;
  let asked = 0; // requests so far: only the latest one's answer is drawn
  let seen = ""; // the version that is drawn
  let timer;

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const number = (value) => value.toLocaleString("en");
  const percent = ({ successes, episodes: of }) => (of ? `${Math.round((100 * successes) / of)} %` : "–");

  let styles = {}; // by sampler, the number of its colour
  const shareOf = (share) => {
    const errors = share.errors ? `, ${share.errors} errors` : "";
    const title = `${share.sampler}: ${share.successes} of ${share.episodes} episodes${errors}`;
    const filled = element("i");
    filled.style.width = `${share.episodes ? (100 * share.successes) / share.episodes : 0}%`;
    const bar = element("span", { className: `bar s${styles[share.sampler]}`, ariaHidden: "true" }, filled);
    const rate = element("b", { textContent: percent(share) });
    return element("span", { className: "share", title }, element("span", { textContent: share.sampler }), bar, rate);
  };

  const drawn = new Map(); // by id, what a run's row shows, and the row

  const runRow = (run) => {
    const shows = JSON.stringify([run, run.shares.map((share) => styles[share.sampler])]);
    if (drawn.get(run.id)?.shows !== shows) drawn.set(run.id, { shows, row: newRow(run) });
    return drawn.get(run.id).row;
  };

  const newRow = (run) => {
    const broken = run.state === "broken" || run.state === "reading";
    const tick = element("input", { type: "checkbox", name: "run", value: run.id, disabled: broken, checked: chosen.has(run.id) });
    tick.ariaLabel = `compare ${run.name}`;
    const name = broken
      ? element("span", { textContent: run.name, title: run.name })
      : element("a", { textContent: run.name, title: run.name, href: `/files/report?run=${run.id}` });
    const row = element("tr", {}, element("th", { scope: "row" }, tick, name));
    const state = element("td", {}, element("span", { className: `state-${run.state}`, textContent: run.state }));
    if (run.problem) {
      row.append(element("td"), element("td"), state, element("td", { className: "problem", colSpan: 3, textContent: run.problem }));
      return row;
    }
    const done = run.learned ? `${number(run.done)} steps` : run.asked ? `${number(run.done)} of ${number(run.asked)}` : "";
    const part = element("td", { className: "number" }, done);
    if (run.state === "running" && run.asked) part.prepend(element("progress", { max: run.asked, value: run.done, ariaLabel: "done" }), " ");
    row.append(
      element("td", { textContent: run.task }),
      element("td", { textContent: run.policy }),
      state,
      part,
      element("td", { className: "shares" }, ...run.shares.map(shareOf)),
      element("td", { textContent: run.started.slice(0, 16).replace("T", " ") }),
    );
    return row;
  };

  // Runs of one suite lie in one folder: they stand together, where the newest of them does.
  const grouped = (listedRuns) => {
    const groups = new Map();
    listedRuns.forEach((run) => {
      const folder = run.name.includes("/") ? run.name.slice(0, run.name.lastIndexOf("/")) : "";
      const key = folder || run.id;
      if (!groups.has(key)) groups.set(key, { folder, runs: [] });
      groups.get(key).runs.push(run);
    });
    return [...groups.values()];
  };

  const groupRow = (folder, own) => {
    const sound = own.filter((run) => run.state !== "broken" && run.state !== "reading" && run.learned === own[0].learned);
    const href = `/files/report?${new URLSearchParams(sound.map((run) => ["run", run.id]))}`;
    const name = sound.length > 1 ? element("a", { textContent: `${folder}/`, title: "the report of all", href }) : `${folder}/`;
    return element("tr", { className: "suite" }, element("th", { scope: "rowgroup", colSpan: 7 }, name, ` ${own.length} runs`));
  };

  const film = (episode) => {
    const title = `${episode.name}, ${episode.sampler}, episode ${episode.episode}`;
    const video = element("video", { src: episode.video, controls: true, muted: true, playsInline: true, preload: "metadata", ariaLabel: title });
    return element("figure", {}, video, element("figcaption", { textContent: `${episode.sampler}: ${episode.outcome} after ${episode.steps} steps` }));
  };

  let listed = []; // the episodes that are shown
  // Of the same run and start, each video once: samplers drawn side by side share theirs.
  const beside = (episode) => {
    const same = listed.filter((other) => other.run === episode.run && other.episode === episode.episode && other.video);
    return [...new Map([episode, ...same].map((each) => [each.video, each])).values()];
  };

  const detail = (episode) => {
    const inside = element("td", { colSpan: 5 });
    if (episode.error) inside.append(element("p", { textContent: episode.error }));
    if (episode.video) {
      const films = beside(episode).map(film);
      inside.append(element("div", { className: "videos" }, ...films));
      if (films.length > 1) {
        const players = films.map((figure) => figure.firstChild);
        const play = element("button", { type: "button", textContent: "play all" });
        play.addEventListener("click", () => players.forEach((player) => { player.currentTime = 0; player.play(); }));
        inside.prepend(element("div", {}, play));
      }
    } else {
      inside.append(element("p", {}, "No video yet; draw it with ", element("code", { textContent: `sim-eval render ${episode.folder} episodes=[${episode.episode}]` })));
    }
    if (episode.sheet) {
      const alt = `contact sheet with ${episode.sampler}, episode ${episode.episode}`;
      inside.append(element("img", { className: "sheet", src: episode.sheet, alt, loading: "lazy" }));
    }
    inside.append(element("p", {}, element("a", { href: `/files/report?run=${episode.run}`, textContent: `the report of ${episode.name}` })));
    return element("tr", { className: "detail" }, inside);
  };

  const episodeRow = (episode) => {
    const name = `${episode.name} ${episode.episode}`;
    const button = element("button", { type: "button", textContent: `▸ ${name}`, ariaExpanded: "false" });
    const mark = { success: "✓ success", failure: "✗ failure", error: "error" }[episode.outcome];
    const shade = { success: "cell rescued", failure: "cell neither", error: "cell broken" }[episode.outcome];
    const row = element(
      "tr",
      {},
      element("th", { scope: "row" }, button),
      element("td", { textContent: episode.sampler }),
      element("td", {}, element("span", { className: shade, textContent: mark }), episode.video ? " ▶" : ""),
      element("td", { textContent: episode.steps }),
      element("td", { textContent: episode.mean_q === null ? "" : episode.mean_q.toFixed(2) }),
    );
    button.addEventListener("click", () => {
      const open = button.ariaExpanded !== "true";
      button.ariaExpanded = String(open);
      button.textContent = `${open ? "▾" : "▸"} ${name}`;
      if (open) row.after(detail(episode));
      else row.nextElementSibling.remove();
    });
    return row;
  };

  const offer = (select, choices) => {
    const wanted = select.value;
    const options = ["", ...new Set([...choices, ...(wanted ? [wanted] : [])])];
    if (options.join("\n") === [...select.options].map((option) => option.value).join("\n")) return;
    select.replaceChildren(...options.map((value) => element("option", { value, textContent: value || "all" })));
    select.value = wanted;
  };

  const countChosen = () => {
    compare.querySelector("button").disabled = chosen.size === 0;
    compare.querySelector("button").textContent = chosen.size ? `compare ${chosen.size}` : "compare";
  };

  const counted = (what, answer) => {
    const [all, found, listed] = [answer[`all_${what}`], answer[`found_${what}`], answer[what].length];
    const part = found === all ? "" : `${number(found)} of `;
    return `${part}${number(all)} ${what}${listed < found ? `, the first ${listed} shown` : ""}`;
  };

  const draw = (answer, keepEpisodes) => {
    styles = answer.styles;
    listed = answer.episodes;
    Object.entries(answer.choices).forEach(([name, choices]) => offer(filter.elements[name], choices));
    runs.replaceChildren(...grouped(answer.runs).flatMap(({ folder, runs: own }) => [...(own.length > 1 ? [groupRow(folder, own)] : []), ...own.map(runRow)]));
    const left = answer.reading ? `, ${answer.reading} still to be read` : "";
    document.getElementById("run-count").textContent = counted("runs", answer) + left;
    const kept = keepEpisodes && episodes.querySelector(".detail"); // a video that plays goes on
    if (!kept) episodes.replaceChildren(...answer.episodes.map(episodeRow));
    document.getElementById("episode-count").textContent = counted("episodes", answer);
    more.hidden = answer.episodes.length === answer.found_episodes;
    countChosen();
  };

  // `again`: nothing was changed here, so an answer is needed only if something has changed there.
  const ask = async (again = false) => {
    clearTimeout(timer);
    asked += 1;
    const mine = asked;
    const values = new URLSearchParams([...new FormData(filter), ...new FormData(narrow)].filter(([, value]) => value));
    values.set("count", count);
    if (!again) seen = ""; // what is drawn answers another question
    values.set("seen", seen);
    const response = await fetch(`/view.json?${values}`).catch(() => null);
    const text = (await response?.text().catch(() => null)) ?? "sim-eval view does not answer; was it ended?";
    if (mine !== asked) return;
    const found = response?.status === 200;
    problem.hidden = Boolean(response?.ok);
    if (!response?.ok) problem.textContent = text;
    const answer = found ? JSON.parse(text) : { reading: 0 };
    timer = setTimeout(() => ask(true), answer.reading ? 0 : WAIT);
    if (!found) return;
    seen = answer.version;
    draw(answer, again);
  };
  const filterAgain = () => {
    count = STEP;
    ask();
  };

  [filter, narrow].forEach((form) => {
    // Not both for all: a text field changes again as it loses the focus.
    form.querySelectorAll("input:not([type=checkbox])").forEach((field) => field.addEventListener("input", filterAgain));
    form.querySelectorAll("select, [type=checkbox]").forEach((field) => field.addEventListener("change", filterAgain));
    form.addEventListener("submit", (event) => event.preventDefault());
  });
  filter.addEventListener("reset", () => {
    narrow.reset();
    setTimeout(filterAgain);
  });
  compare.addEventListener("change", ({ target }) => {
    if (target.checked) chosen.add(target.value);
    else chosen.delete(target.value);
    countChosen();
  });
  // Those that the filters hide are compared, too.
  compare.addEventListener("submit", (event) => {
    event.preventDefault();
    location.assign(`/files/report?${new URLSearchParams([...chosen].map((id) => ["run", id]))}`);
  });
  more.addEventListener("click", () => {
    count += STEP;
    ask();
  });
  ask();
})();

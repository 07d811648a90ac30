"use strict";
// The episode table: filtered in memory, drawn a page at a time, so that thousands of starts stay fast.
(() => {
  const PAGE = 50;
  const { samplers, tables, strips } = JSON.parse(document.getElementById("data").textContent);
  const form = document.querySelector("form.filter");
  const table = document.querySelector("table.episodes");
  const body = table.tBodies[0];
  const more = document.querySelector("button.more");
  const count = document.querySelector(".count");
  const WORDS = { rescued: "rescued", broken: "broken", both: "both succeed", neither: "neither succeeds", "": "" };

  // A start as it lies in the data: [episode, env_seed, noise_seed, hash, cells, run]; a cell: [outcome, success, steps, q, video, error].
  const starts = tables.flatMap((table) => table.starts.map((start) => ({ table, start })));

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  samplers.forEach((name) => form.elements.sampler.append(element("option", { textContent: name })));
  const hasVideo = ([, , , , cells]) => cells.some((cell) => cell && cell[4]);
  if (!starts.some(({ start }) => hasVideo(start))) form.elements.video.closest("label").hidden = true;
  const head = element("tr", {}, element("th", { scope: "col", textContent: "episode" }));
  head.append(...samplers.map((name) => element("th", { scope: "col", textContent: name })));
  table.tHead.append(head);

  // A short number means an episode; four characters or more may begin a seed or a hash.
  const matchesText = ({ table, start: [episode, env, noise, hash, cells] }, word) =>
    String(episode) === word ||
    (word.length > 3 && [String(env), noise, hash].some((id) => id.startsWith(word))) ||
    (isNaN(word) && [table.name, ...cells.map((cell) => cell && cell[5])].some((text) => text && text.toLowerCase().includes(word)));

  const matches = (entry) => {
    const { table: wanted, sampler, outcome, text, video } = form.elements;
    if (wanted.value && entry.table.name !== wanted.value) return false;
    const cells = sampler.value ? [entry.start[4][samplers.indexOf(sampler.value)]] : entry.start[4];
    const fits = (cell) => cell && (!outcome.value || (outcome.value === "error" ? Boolean(cell[5]) : cell[0] === outcome.value));
    if (!cells.some(fits)) return false;
    if (video.checked && !cells.some((cell) => fits(cell) && cell[4])) return false;
    return text.value.trim().toLowerCase().split(/\s+/).every((word) => !word || matchesText(entry, word));
  };

  const said = (cell) => (cell[5] ? `error after ${cell[2]} steps` : `${cell[1] ? "success" : "failure"} after ${cell[2]} steps`);

  const cellOf = (cell) => {
    if (!cell) return element("td");
    const symbol = cell[5] ? "error" : cell[1] ? `✓ ${cell[2]}` : "✗";
    const title = [WORDS[cell[0]], said(cell)].filter(Boolean).join(": ");
    return element("td", {}, element("span", { className: `cell ${cell[0]}`, textContent: symbol, title }));
  };

  const detail = ({ table, start: [episode, env, noise, hash, cells, run] }) => {
    const videos = element("div", { className: "videos" });
    const figures = new Map(); // by video: samplers shown side by side share it
    samplers.forEach((name, index) => {
      const cell = cells[index];
      if (!cell) return;
      const facts = [said(cell), cell[3] === null ? "" : `mean Q ${cell[3]}`, cell[5] || ""].filter(Boolean).join(", ");
      const caption = element("div", {}, element("b", { textContent: name }), ` ${WORDS[cell[0]]} (${facts})`);
      const shared = cell[4] && figures.get(cell[4]);
      if (shared) {
        shared.classList.add("shared");
        shared.lastElementChild.append(caption);
        return;
      }
      const figure = element("figure", {}, element("figcaption", {}, caption));
      if (cell[4]) {
        const attributes = { src: cell[4], controls: true, muted: true, playsInline: true, preload: "none", ariaLabel: `${name}, episode ${episode}` };
        figure.prepend(element("video", attributes));
        figures.set(cell[4], figure);
      }
      videos.append(figure);
    });
    const players = [...videos.querySelectorAll("video")];
    const inside = element("td", { colSpan: samplers.length + 1 });
    inside.append(element("div", {}, `environment seed ${env}, noise seed ${noise}, start ${hash}`));
    if (players.length) {
      const play = element("button", { type: "button", textContent: players.length > 1 ? "play all" : "play" });
      play.addEventListener("click", () => players.forEach((player) => { player.currentTime = 0; player.play(); }));
      inside.append(element("div", {}, play));
    } else {
      inside.append(element("div", {}, "No videos yet: ", element("code", { textContent: `sim-eval render ${table.runs[run]} episodes=[${episode}]` })));
    }
    inside.append(videos);
    return element("tr", { className: "detail" }, inside);
  };

  const rowOf = (entry) => {
    const name = tables.length > 1 ? `${entry.table.name} ${entry.start[0]}` : `${entry.start[0]}`;
    const button = element("button", { type: "button", textContent: `▸ ${name}`, ariaExpanded: "false" });
    const row = element("tr", {}, element("th", { scope: "row" }, button), ...entry.start[4].map(cellOf));
    button.addEventListener("click", () => {
      const open = button.ariaExpanded !== "true";
      button.ariaExpanded = String(open);
      button.textContent = `${open ? "▾" : "▸"} ${name}`;
      if (open) row.after(detail(entry));
      else row.nextElementSibling.remove();
    });
    return row;
  };

  let found = [];
  let shown = 0;
  const grow = () => {
    body.append(...found.slice(shown, shown + PAGE).map(rowOf));
    shown = Math.min(found.length, shown + PAGE);
    more.hidden = shown === found.length;
    const all = found.length === starts.length ? `${starts.length} starts` : `${found.length} of ${starts.length} starts`;
    count.textContent = shown < found.length ? `${all}, the first ${shown} shown` : all;
  };
  const filter = () => {
    found = starts.filter(matches);
    shown = 0;
    body.replaceChildren();
    grow();
  };
  // Not both for all: a text field changes again as it loses the focus, and a row just clicked would close.
  form.elements.text.addEventListener("input", filter);
  form.querySelectorAll("select, [type=checkbox]").forEach((field) => field.addEventListener("change", filter));
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", grow);
  filter();

  // Columns of the strips lead to their episode.
  document.querySelectorAll(".strip").forEach((strip) => {
    const { table, order } = strips[strip.dataset.strip];
    const { name, starts: own } = tables[table];
    const readout = strip.querySelector(".readout");
    const at = (event) => {
      const lane = event.target.closest(".lane > svg");
      if (!lane) return null;
      const { left, width } = lane.getBoundingClientRect();
      const column = Math.floor(((event.clientX - left) / width) * order.length);
      return own[order[Math.max(0, Math.min(order.length - 1, column))]];
    };
    strip.addEventListener("mousemove", (event) => {
      const start = at(event);
      readout.textContent = start ? `episode ${start[0]}` : "";
    });
    strip.addEventListener("mouseleave", () => { readout.textContent = ""; });
    strip.addEventListener("click", (event) => {
      const start = at(event);
      if (!start) return;
      form.closest("details").open = true;
      form.reset();
      form.elements.table.value = name;
      form.elements.text.value = start[1];
      setTimeout(() => {
        body.querySelector("button")?.click();
        document.getElementById("episodes").scrollIntoView();
      });
    });
  });
})();

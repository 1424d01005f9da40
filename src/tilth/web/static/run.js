// Improves pages that work without it: a threshold that is dragged, answers and texts as they come.
"use strict";

const byId = (id) => document.getElementById(id);

// Lines of JSON, each as soon as it is whole.
async function lines(form, signal, take) {
  const answer = await fetch(form.dataset.stream, {
    method: "POST",
    body: new URLSearchParams(new FormData(form)),
    headers: { accept: "application/json" },
    signal,
  });
  if (!answer.ok) {
    const told = await answer.json().catch(() => null);
    throw new Error(told?.error?.message ?? "The server did not answer (" + answer.status + ").");
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) take(JSON.parse(part));
  }
}

const ask = byId("ask");
if (ask) {
  const answer = byId("answer");
  const state = byId("state");
  let running = null;
  ask.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    const mine = (running = new AbortController());
    const question = ask.elements.q.value.trim();
    history.replaceState(null, "", "/ask?q=" + encodeURIComponent(question));
    state.textContent = "Looking for passages …";
    answer.replaceChildren();
    const text = document.createElement("p");
    text.className = "answer written";
    const below = document.createElement("div");
    let whole = false;
    try {
      await lines(ask, mine.signal, (line) => {
        if (line.kind === "passages") {
          below.innerHTML = line.html;
          answer.replaceChildren(below);
          state.textContent = "Reading them …";
        } else if (line.kind === "text") {
          if (!text.isConnected) answer.prepend(text);
          text.textContent += line.text;
        } else if (line.kind === "done") {
          answer.innerHTML = line.html;
          state.textContent = "";
          whole = true;
        } else {
          throw new Error(line.text);
        }
      });
      if (!whole) throw new Error("The answer was broken off.");
    } catch (error) {
      if (mine.signal.aborted) return;
      state.textContent = error.message;
    }
  });
}

const attempt = byId("try-it");
if (attempt) {
  const out = byId("out");
  const text = byId("text");
  const ended = byId("ended");
  const stop = byId("stop");
  let running = null;
  stop.addEventListener("click", () => running?.abort());
  attempt.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    const mine = (running = new AbortController());
    out.hidden = stop.hidden = false;
    byId("began").textContent = attempt.elements.prompt.value;
    text.textContent = ended.textContent = "";
    try {
      await lines(attempt, mine.signal, (line) => {
        if (line.kind === "text") text.textContent += line.text;
        else ended.textContent = line.text;
      });
    } catch (error) {
      if (running !== mine) return;
      ended.textContent = mine.signal.aborted ? "Stopped." : error.message;
    }
    if (running === mine) stop.hidden = true;
  });
}

// A place on the drawn axis, 0 to 1000, as a number, and back: between two edges it is straight.
function valueAt(edges, place) {
  const at = (Math.min(Math.max(place, 0), 1000) / 1000) * (edges.length - 1);
  const left = Math.min(Math.floor(at), edges.length - 2);
  return edges[left] + (at - left) * (edges[left + 1] - edges[left]);
}

function placeOf(edges, value) {
  if (!(value > edges[0])) return 0;
  for (let left = 0; left < edges.length - 1; left++) {
    if (value < edges[left + 1]) {
      const within = (value - edges[left]) / (edges[left + 1] - edges[left]);
      return (1000 * (left + within)) / (edges.length - 1);
    }
  }
  return 1000;
}

const move = byId("move");
if (move) {
  const slider = byId("slider");
  const field = byId("value");
  const moved = byId("moved");
  const limit = byId("limit");
  const fails = byId("fails");
  const back = byId("back");
  const { whole, above } = move.dataset;
  const edges = JSON.parse(move.dataset.edges);
  const width = limit.ownerSVGElement.viewBox.baseVal.width;
  let waiting = 0;
  let running = null;

  // Short, but fine enough for the bar that the place lies in.
  function rounded(value) {
    if (whole) return Math.round(value);
    const at = Math.max(0, edges.findIndex((edge) => edge > value) - 1);
    const step = (edges[at + 1] - edges[at]) / 40;
    const digits = Math.min(12, Math.max(0, Math.ceil(-Math.log10(step || 1))));
    return Number(value.toFixed(digits));
  }

  function draw(value) {
    const at = (width * placeOf(edges, value)) / 1000;
    limit.setAttribute("x1", at);
    limit.setAttribute("x2", at);
    fails.setAttribute("x", above ? 0 : at);
    fails.setAttribute("width", above ? at : width - at);
    slider.setAttribute("aria-valuetext", String(value));
    back.hidden = field.value === back.dataset.value;
    // The other conditions are looked at with what was moved here.
    for (const link of document.querySelectorAll(".rule a")) {
      const url = new URL(link.href);
      url.searchParams.set(field.name, field.value);
      link.href = url;
    }
  }

  async function show() {
    running?.abort();
    const mine = (running = new AbortController());
    const asked = new URLSearchParams(new FormData(move));
    moved.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(move.action + "?" + asked + "&part=1", { signal: mine.signal });
      if (answer.status === 429) {
        later(1000 * Number(answer.headers.get("retry-after") ?? 1));
        return;
      }
      if (!answer.ok) throw new Error(answer.status);
      moved.innerHTML = await answer.text();
      history.replaceState(null, "", move.action + "?" + asked);
    } catch {
      if (mine.signal.aborted) return;
      moved.textContent = "The server did not answer. Try again.";
    }
    moved.removeAttribute("aria-busy");
  }

  function later(milliseconds) {
    clearTimeout(waiting);
    waiting = setTimeout(show, milliseconds);
  }

  slider.hidden = false;
  byId("show").hidden = true;
  draw(Number(field.value));
  slider.addEventListener("input", () => {
    field.value = rounded(valueAt(edges, Number(slider.value)));
    draw(Number(field.value));
    later(120);
  });
  field.addEventListener("input", () => {
    if (!field.checkValidity()) return;
    slider.value = placeOf(edges, Number(field.value));
    draw(Number(field.value));
    later(250);
  });
  back.addEventListener("click", (event) => {
    event.preventDefault();
    field.value = back.dataset.value;
    field.dispatchEvent(new Event("input"));
    slider.focus();
  });
  move.addEventListener("submit", (event) => {
    event.preventDefault();
    later(0);
  });
}

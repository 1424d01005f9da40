// Improves pages that work without it: votes without a new page, live lines of a run, copying.
"use strict";

for (const form of document.querySelectorAll("form.vote")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { accept: "application/json" },
      });
      if (!answer.ok) throw new Error(answer.status);
      const { votes, voted } = await answer.json();
      form.querySelector(".votes").textContent = votes;
      button.title = votes === 1 ? "1 vote" : votes + " votes";
      button.setAttribute("aria-pressed", voted);
      form.querySelector("[name=take]")?.remove();
      if (voted) {
        const take = document.createElement("input");
        Object.assign(take, { type: "hidden", name: "take", value: "back" });
        form.append(take);
      }
      button.disabled = false;
      button.focus();
    } catch {
      button.disabled = false;
      form.submit();
    }
  });
}

for (const block of navigator.clipboard ? document.querySelectorAll("pre.copy") : []) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "quiet copier", textContent: "Copy" });
  button.setAttribute("aria-label", "Copy: " + block.textContent);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.querySelector("code").textContent);
    button.textContent = "Copied";
  });
  block.append(button);
}

const smoke = document.getElementById("smoke");
if (smoke && smoke.dataset.state === "running") {
  const log = document.getElementById("log");
  const bar = document.getElementById("progress");
  const shown = log.textContent ? log.textContent.trimEnd().split("\n").length : 0;
  let place = 0;
  const began = Date.now();
  const clock = document.getElementById("clock");
  setInterval(() => {
    clock.textContent = Math.round((Date.now() - began) / 1000) + " s";
  }, 1000);
  const events = new EventSource(smoke.dataset.events);
  events.addEventListener("line", (event) => {
    place = Number(event.lastEventId);
    const line = JSON.parse(event.data);
    const part = /(\d[\d,]*)\/(\d[\d,]*)$/.exec(line);
    // Without a first step done the bar only says that something goes on.
    if (part && part[1] !== "0") {
      bar.max = Number(part[2].replaceAll(",", ""));
      bar.value = Number(part[1].replaceAll(",", ""));
    }
    if (place > shown) {
      log.append(line + "\n");
      log.scrollTop = log.scrollHeight;
    }
  });
  events.addEventListener("end", () => {
    events.close();
    location.reload();
  });
}

// The console's only script: live parts, times relative to now, copy buttons, busy buttons. Every page works without it.
"use strict";

(() => {
  const EVERY_MS = 2000;
  const body = document.body;
  const pulse = document.querySelector("[data-pulse]");
  const language = document.documentElement.lang || "en";
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  const UNITS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];

  const ago = (then) => {
    let value = (new Date(then) - Date.now()) / 1000;
    for (const [unit, size] of UNITS) {
      if (Math.abs(value) < size) return relative.format(Math.round(value), unit);
      value /= size;
    }
    return "";
  };

  const age = (root) => {
    for (const time of root.querySelectorAll("time[data-relative]")) time.textContent = ago(time.dateTime);
  };

  // A part that somebody is reading (unfolded) or working in (focused) is left alone until they are done.
  const inUse = (part) => part.contains(document.activeElement) || part.querySelector("details[open]");

  const markup = new Map();
  const remember = () => {
    for (const part of document.querySelectorAll("[data-live]")) markup.set(part.id, part.outerHTML);
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const response = await fetch(location.pathname, { redirect: "manual", cache: "no-store" });
      if (response.type === "opaqueredirect") { location.reload(); return; }
      if (!response.ok) throw new Error(String(response.status));
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const next = fresh.getElementById(part.id);
        if (!next || inUse(part) || markup.get(part.id) === next.outerHTML) continue;
        markup.set(part.id, next.outerHTML);
        part.replaceWith(document.adoptNode(next));
      }
      age(document);
      if (pulse) { pulse.textContent = body.dataset.liveWord; pulse.classList.remove("lost"); }
    } catch {
      if (pulse) { pulse.textContent = body.dataset.lost; pulse.classList.add("lost"); }
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    const before = button.textContent;
    button.textContent = body.dataset.copied;
    setTimeout(() => { button.textContent = before; }, 1500);
  });

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || button.name) return;
    if (button.dataset.busy) button.textContent = button.dataset.busy;
    setTimeout(() => { button.disabled = true; }, 0);
  });

  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  remember();
  age(document);
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  if (document.querySelector("[data-live]")) setInterval(refresh, EVERY_MS);
  setInterval(() => age(document), 10000);
})();

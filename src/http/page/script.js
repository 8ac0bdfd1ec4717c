
"use strict";
(() => {
  const EVERY = 2000; // ms between two looks
  const LIMIT = 5000; // ms that an answer may take
  const live = document.getElementById("live");
  const silent = document.getElementById("silent");
  const name = document.querySelector("footer b").textContent;
  const build = document.documentElement.dataset.build;
  let answered = Date.now();
  let timer;

  // Makes `old` what `fresh` is and touches only what differs: focus, selection and scrolling stay.
  const morph = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const before = [...old.childNodes];
    const after = [...fresh.childNodes];
    after.forEach((node, at) => {
      const was = before[at];
      if (!was) old.append(document.importNode(node, true));
      else if (was.nodeName !== node.nodeName) was.replaceWith(document.importNode(node, true));
      else morph(was, node);
    });
    before.slice(after.length).forEach((node) => node.remove());
  };

  const ask = async () => {
    const answer = await fetch(location.pathname, {
      headers: { Accept: "text/html" },
      cache: "no-store",
      signal: AbortSignal.timeout(LIMIT),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!fresh.querySelector("main h1")) throw new Error("another page");
    return fresh;
  };

  const show = (fresh) => {
    // Another release has another style and script. Once a minute at most, where two of them answer by turns.
    if (fresh.documentElement.dataset.build !== build && performance.now() > 60000) {
      location.reload();
      return;
    }
    document.title = fresh.title;
    for (const part of ["main", "footer", ".brand", "link[rel=icon]"]) {
      morph(document.querySelector(part), fresh.querySelector(part));
    }
    document.body.classList.remove("quiet");
    silent.hidden = true;
    if (live.className !== "on") {
      live.className = "on";
      live.textContent = `live, every ${EVERY / 1000} s`;
    }
  };

  const miss = () => {
    const when = new Date(answered).toISOString().slice(0, 19).replace("T", " ");
    const seconds = Math.round((Date.now() - answered) / 1000);
    if (silent.hidden) {
      const age = document.createElement("span");
      age.ariaHidden = "true";
      silent.replaceChildren(`${name} has not answered since ${when} UTC. What stands here is from then. `, age);
      silent.hidden = false;
      document.body.classList.add("quiet");
      document.title = `No answer: ${document.title}`;
      live.className = "off";
      live.textContent = "no answer";
    }
    silent.lastChild.textContent = `(${seconds} s ago)`;
  };

  const look = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const fresh = await ask();
        answered = Date.now();
        show(fresh);
      } catch {
        miss();
      }
    }
    clearTimeout(timer);
    timer = setTimeout(look, EVERY);
  };

  document.addEventListener("visibilitychange", look);
  look();
})();

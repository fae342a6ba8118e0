// Leadtally's web snippet: what it is told and what it sends is in docs/tracking.md.
(() => {
  const earlier = window.leadtally || [];
  if (earlier.track) return; // the page has it twice
  const { dataset, src } = document.currentScript;
  const url = (dataset.host || src).replace(/\/(t\.js.*)?$/, "") + "/v1/batch";
  const silent = dataset.dnt === "respect" && (navigator.doNotTrack === "1" || navigator.globalPrivacyControl);
  const random = () => crypto.getRandomValues(new Uint32Array(4)).join("");

  // What is remembered lies in local storage; where there is none, ids lie in a cookie.
  const get = (name) => {
    try {
      return localStorage[name];
    } catch {
      return (document.cookie.match(name + "=([^;]+)") || [])[1];
    }
  };
  const set = (name, value) => {
    if (silent) return;
    try {
      localStorage[name] = value;
    } catch {
      if (value.length < 300) document.cookie = `${name}=${value};path=/;max-age=31536000;samesite=lax`;
    }
  };

  // A call waits until the server has it; should it come twice, it counts once, by its messageId.
  let queue = [], timer, seen, referrer = document.referrer;
  const body = (batch) => JSON.stringify({ writeKey: dataset.key, sentAt: new Date(), batch });
  const keep = () => set("lt_queue", JSON.stringify((queue = queue.slice(-1e3))));
  const later = (ms) => (timer = timer || setTimeout(send, ms));
  const send = async () => {
    const batch = queue.slice(0, 50);
    let done;
    try {
      const { status } = await fetch(url, { method: "POST", body: body(batch) });
      done = status < 500 && status !== 429;
    } catch {} // offline
    if (done) queue = queue.filter((one) => !batch.includes(one));
    keep();
    timer = 0;
    if (queue.length) later(done ? 0 : 1e4);
  };
  const leave = () => {
    if (queue.length && navigator.onLine && navigator.sendBeacon(url, body(queue))) queue = [];
    keep();
  };

  const call = (type, more) => {
    if (silent) return;
    const { href, pathname, search } = location;
    const campaign = {};
    new URLSearchParams(search).forEach((value, name) => {
      if (name.startsWith("utm_")) campaign[name.slice(4).replace("campaign", "name")] = value;
    });
    const page = { url: href, path: pathname, search, title: document.title, referrer };
    set("lt_visitor", get("lt_visitor") || random());
    queue.push({
      type,
      messageId: random(),
      timestamp: new Date(),
      anonymousId: get("lt_visitor"),
      userId: get("lt_user"),
      context: { page, campaign, locale: navigator.language },
      ...more,
    });
    later(50);
  };
  const api = (window.leadtally = {
    page: (properties) => call("page", { properties }),
    track: (event, properties) => call("track", { event, properties }),
    identify(id, traits) {
      if (typeof id === "object") [id, traits] = ["", id];
      if (id) set("lt_user", id);
      call("identify", { traits });
    },
    reset() {
      set("lt_user", "");
      set("lt_visitor", "");
    },
    push: ([name, ...rest]) => api[name](...rest),
  });

  const view = () => {
    const place = location.pathname + location.search;
    if (place === seen) return;
    if (seen) referrer = location.origin + seen;
    seen = place;
    api.page();
  };
  const start = () => {
    try {
      queue = JSON.parse(get("lt_queue")).concat(queue);
    } catch {} // nothing was kept
    if (dataset.auto !== "false") {
      const { pushState } = history;
      history.pushState = (...rest) => {
        pushState.apply(history, rest);
        setTimeout(view); // the page sets its title first
      };
      addEventListener("popstate", view);
      view();
    }
    earlier.forEach(api.push);
    if (queue.length) later(50);
  };
  if (silent) return;
  addEventListener("visibilitychange", () => document.hidden && leave());
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
  else start();
})();

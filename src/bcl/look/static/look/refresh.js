// Long work: the part of the page that shows it is read again every few seconds, and when it no
// longer asks for that, the page is opened anew, once. Without this script the person reloads.
"use strict";
(() => {
  const part = document.querySelector("[data-refresh-seconds]");
  if (!part) return;
  const again = () => setTimeout(look, 1000 * Number(part.dataset.refreshSeconds));
  const look = async () => {
    try {
      const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const newer = page.getElementById(part.id);
      if (!answer.ok || !newer || !newer.dataset.refreshSeconds) return location.reload();
      if (newer.innerHTML !== part.innerHTML) part.replaceChildren(...newer.childNodes);
    } catch { /* the line is down: look again later */ }
    again();
  };
  again();
})();

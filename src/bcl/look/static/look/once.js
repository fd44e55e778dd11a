// One click, one act: the buttons of a form rest for some seconds after it was sent.
"use strict";
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  const buttons = [...form.querySelectorAll("button")].filter((one) => !one.disabled);
  // After the browser has read which button was pressed.
  setTimeout(() => buttons.forEach((one) => { one.disabled = true; }), 0);
  setTimeout(() => buttons.forEach((one) => { one.disabled = false; }), 5000);
});

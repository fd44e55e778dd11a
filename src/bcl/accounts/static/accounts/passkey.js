// Asks the device for a passkey and sends its answer with the form it belongs to. The question
// comes with the page (data-options); nothing is fetched, nothing is kept.
"use strict";
(() => {
  const form = document.querySelector("form[data-passkey]");
  if (!form) return;
  const trouble = document.getElementById("passkey-trouble");
  const say = (words) => { trouble.textContent = words; trouble.hidden = false; };
  const isNew = form.dataset.passkey === "create";
  const able = window.PublicKeyCredential
    && PublicKeyCredential.parseCreationOptionsFromJSON
    && PublicKeyCredential.parseRequestOptionsFromJSON;
  const ask = async () => {
    const options = JSON.parse(form.dataset.options);
    const made = isNew
      ? await navigator.credentials.create({
          publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
      : await navigator.credentials.get({
          publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
    form.elements.answer.value = JSON.stringify(made.toJSON());
  };
  form.addEventListener("submit", (event) => {
    if (form.elements.answer.value) return;
    event.preventDefault();
    if (!able) return say("このブラウザではパスキーを使えません。認証アプリの6桁を使ってください。");
    trouble.hidden = true;
    ask().then(() => form.submit()).catch(() => say(isNew
      ? "パスキーを作れませんでした。もう一度行うか、この端末で使えるかを確かめてください。"
      : "パスキーを確かめられませんでした。もう一度行うか、認証アプリの6桁を使ってください。"));
  });
})();

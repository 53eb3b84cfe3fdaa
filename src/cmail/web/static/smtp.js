// SMTP Configuration: what the chosen delivery does not need is folded; port and security fit together.
"use strict";
{
  const form = document.getElementById("smtp-form");
  const chosen = () => form.querySelector('input[name="smtp.delivery"]:checked');

  const fold = () => {
    for (const part of form.querySelectorAll("details[data-when]")) {
      part.open = !chosen() || part.dataset.when === chosen().value || !!part.querySelector(".wrong");
    }
  };

  const fit = () => {
    const tls = document.getElementById("smtp.tls");
    const port = document.getElementById("smtp.port");
    if (tls.value === "implicit" && ["25", "587"].includes(port.value)) port.value = "465";
    if (tls.value !== "implicit" && port.value === "465") port.value = "587";
  };

  const wait = (event) => {
    const button = event.submitter;
    if (!button || !button.dataset.wait) return;
    button.textContent = button.dataset.wait;
    button.setAttribute("aria-busy", "true");
    setTimeout(() => { button.disabled = true; });
  };

  form.addEventListener("submit", wait);
  if (chosen()) {
    fold();
    for (const each of form.querySelectorAll('input[name="smtp.delivery"]')) each.addEventListener("change", fold);
    document.getElementById("smtp.tls").addEventListener("change", fit);
  }
  // The page of before is shown again, from the browser's memory: its buttons work again.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

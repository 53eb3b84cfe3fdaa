// What makes lists handier: tick all of a page, and no refresh while somebody is busy in one.
"use strict";
(function () {
  function isBusy(part) {
    return part.contains(document.activeElement) ||
      part.querySelector("input[type=checkbox]:checked, details[open]") !== null;
  }
  function boxes() {
    return Array.from(document.querySelectorAll("#rows input[name=pick]"));
  }
  function show() {
    var page = document.getElementById("pick-page");
    if (!page) { return; }
    var all = boxes(), ticked = all.filter(function (box) { return box.checked; }).length;
    document.getElementById("pick-label").hidden = all.length === 0;
    page.checked = ticked > 0 && ticked === all.length;
    page.indeterminate = ticked > 0 && ticked < all.length;
  }
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (event.target.hasAttribute("data-keep") && isBusy(event.target)) { event.preventDefault(); }
  });
  document.addEventListener("htmx:beforeSwap", function (event) {
    if (event.target.hasAttribute("data-keep") && isBusy(event.target)) { event.detail.shouldSwap = false; }
  });
  document.addEventListener("htmx:afterSwap", show);
  document.addEventListener("change", function (event) {
    if (event.target.id === "pick-page") {
      boxes().forEach(function (box) { box.checked = event.target.checked; });
    }
    show();
  });
  document.addEventListener("DOMContentLoaded", show);
}());

// [Copy] beside each record; also beside those that come while the page is looked at.
(function () {
  "use strict";

  function say(button, words) {
    button.textContent = words;
    window.setTimeout(function () { button.textContent = "Copy"; }, 2000);
  }

  function select(record) {
    const range = document.createRange();
    range.selectNodeContents(record.firstChild);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  function copy(record, button) {
    const text = record.firstChild.textContent;
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(text).then(
        function () { say(button, "Copied"); },
        function () { select(record); say(button, "Selected"); }
      );
    } else { // a page without TLS has no clipboard: the old way, or at least a selection
      select(record);
      say(button, document.execCommand("copy") ? "Copied" : "Selected");
    }
  }

  function addButtons() {
    document.querySelectorAll("pre.record:not(.has-copy)").forEach(function (record) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet copy";
      button.textContent = "Copy";
      button.addEventListener("click", function () { copy(record, button); });
      record.classList.add("has-copy");
      record.appendChild(button);
    });
  }

  document.addEventListener("DOMContentLoaded", addButtons);
  document.addEventListener("htmx:afterSettle", addButtons);
})();

// When what refreshes itself gets no answer any more, the page says so: what stands on it is from before.
"use strict";
(function () {
  var SILENT = "The server does not answer. What stands here is from before, and may be wrong now.";
  var OUT = "You are logged in no more. What stands here is from before. ";
  var EACH_MS = 5000, SILENT_MAX = 3; // a page asks each 3 s; a server that is started again is back by then
  var silent = 0; // looks in a row without an answer; not seconds, for a computer may sleep

  function notice() { return document.getElementById("stale"); }

  function tell(isOut) {
    var main = document.getElementById("content");
    if (!main || notice()) { return; }
    var words = document.createElement("p");
    words.id = "stale";
    words.className = "said failed";
    words.setAttribute("role", "status");
    words.textContent = isOut ? OUT : SILENT;
    if (isOut) {
      var link = document.createElement("a");
      link.href = "/login?next=" + encodeURIComponent(location.pathname);
      link.textContent = "Log in";
      words.append(link);
    }
    main.prepend(words);
  }

  document.addEventListener("htmx:afterOnLoad", function (event) {
    var status = event.detail.xhr.status;
    if (status === 403) { tell(true); }
    if (status >= 400) { return; }
    silent = 0;
    if (notice()) { notice().remove(); }
  });
  window.setInterval(function () {
    silent += 1;
    if (silent > SILENT_MAX) { tell(false); }
  }, EACH_MS);
}());

// The log, live: new rows come on top, a bounded number of them; a button pauses it.
(function () {
  "use strict";
  var ROWS_MAX = 500;
  var live = document.getElementById("log-live");
  var list = document.getElementById("log-rows");
  if (!live || !live.dataset.live || !window.EventSource) return;
  var words = document.getElementById("log-live-words");
  var light = live.querySelector(".light");
  var button = document.getElementById("log-pause");
  var url = live.dataset.live;
  var source = null;

  function say(text, state) {
    if (words.textContent !== text) words.textContent = text;
    light.className = "light " + state;
  }

  function take(html) {
    var holder = document.createElement("template");
    holder.innerHTML = html; // rendered and escaped by the server, as the page itself
    Array.prototype.forEach.call(holder.content.querySelectorAll("li"), function (row) {
      if (row.id && document.getElementById(row.id)) row.remove(); // it stands in the page already
    });
    list.insertBefore(holder.content, list.firstChild);
    while (list.children.length > ROWS_MAX) list.lastElementChild.remove();
    var empty = document.getElementById("log-empty");
    if (empty && list.children.length) empty.remove();
  }

  function start() {
    source = new EventSource(url);
    source.onopen = function () { say("Live", "on"); };
    source.addEventListener("rows", function (event) {
      url = url.replace(/([?&]after=)[^&]*/, "$1" + encodeURIComponent(event.lastEventId));
      take(event.data);
    });
    source.addEventListener("cut", function () {
      say("Live; so much happens that not all of it is shown", "on");
    });
    source.onerror = function () {
      if (source.readyState === EventSource.CLOSED) {
        say("Not live: reload the page", "off");
        button.hidden = true;
      } else {
        say("Connecting again", "unknown");
      }
    };
    button.textContent = "Pause";
  }

  button.addEventListener("click", function () {
    if (source) {
      source.close();
      source = null;
      say("Paused", "unknown");
      button.textContent = "Go on";
    } else {
      start();
    }
  });
  window.addEventListener("pagehide", function () { if (source) source.close(); });
  live.hidden = false;
  document.getElementById("log-refresh").hidden = true;
  start();
})();

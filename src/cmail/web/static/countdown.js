// Counts down to the next exchange: each .countdown says how long it is from when it came; the words are those of
// admin/link_words.py. The clock of this machine does not matter.
"use strict";
(function () {
  var UNITS = [[86400, "day", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  var ends = new WeakMap(); // when each is over, on the clock that nobody sets

  function words(seconds) {
    for (var n = 0; n < UNITS.length; n += 1) {
      var unit = UNITS[n];
      if (seconds >= unit[0]) {
        var count = Math.floor(seconds / unit[0]);
        var rest = Math.floor(seconds % unit[0] / unit[2]);
        var name = unit[1] === "day" && count !== 1 ? "days" : unit[1];
        return count + " " + name + (rest ? " " + rest + " " + unit[3] : "");
      }
    }
    return seconds > 0 ? seconds + " s" : "now";
  }

  function tick() {
    document.querySelectorAll(".countdown[data-left]").forEach(function (place) {
      var now = performance.now();
      if (!ends.has(place)) { ends.set(place, now + Number(place.dataset.left) * 1000); }
      var text = words(Math.max(0, Math.round((ends.get(place) - now) / 1000)));
      if (place.textContent !== text) { place.textContent = text; }
    });
  }

  document.addEventListener("DOMContentLoaded", tick);
  document.addEventListener("htmx:afterSettle", tick);
  window.setInterval(tick, 1000);
}());

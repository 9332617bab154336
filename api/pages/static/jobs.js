// The list of jobs: marked jobs are compared, a question in the notice is closed.
"use strict";

document.addEventListener("click", ({ target }) => {
  if (target.closest("[data-compare]")) {
    const marked = [...document.querySelectorAll('[data-marks] [name="job"]:checked')].map(({ value }) => value);
    location.assign(`/compare?${new URLSearchParams(marked.map((job) => ["of", `job:${job}`]))}`);
  }
  if (target.closest("[data-close]")) document.getElementById("notice").replaceChildren();
});

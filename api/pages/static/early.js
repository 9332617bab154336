// Before anything is shown: the theme that the browser prefers, where none was chosen, and the viewer's time zone.
"use strict";

function keep(name, value) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict${secure}`;
}

keep("zone", Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC");

const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
if (!root.hasAttribute("data-bs-theme")) {
  const follow = () => root.setAttribute("data-bs-theme", dark.matches ? "dark" : "light");
  dark.addEventListener("change", follow);
  follow();
}

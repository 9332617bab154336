// Swagger UI on the document of this server; orders carry the code of the page, as those of every page do.
"use strict";

document.documentElement.classList.toggle("dark-mode", document.documentElement.dataset.bsTheme === "dark");

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    const here = new URL(request.url, location.href).origin === location.origin;
    const code = JSON.parse(document.body.getAttribute("hx-headers:inherited") ?? "{}");
    if (here && !request.headers.Authorization) Object.assign(request.headers, code);
    return request;
  },
});

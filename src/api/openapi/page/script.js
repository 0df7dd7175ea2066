"use strict";
const METHODS = ["get", "post", "put", "patch", "delete", "options", "head"];
let description;

// Texts of the document become text nodes only, never markup.
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined));
  return element;
}

function prose(text) {
  const parts = (text || "").split("`");
  return parts.map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function pointed(pointer) {
  const steps = pointer.slice(2).split("/");
  return steps.reduce((at, step) => at[step.replace(/~1/g, "/").replace(/~0/g, "~")], description);
}

function resolved(value) {
  let found = value || {};
  for (let steps = 0; found.$ref && steps < 9; steps += 1) {
    const { $ref, ...beside } = found;
    found = { ...pointed($ref), ...beside };
  }
  return found;
}

function nameOf(schema) {
  return schema && schema.$ref ? schema.$ref.split("/").slice(3).join(".") : "";
}

function kind(schema) {
  const found = resolved(schema);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((one) => JSON.stringify(one)).join(" | ");
  const ways = found.oneOf || found.anyOf;
  if (!found.type && ways) return ways.map(kind).join(" | ");
  const types = [].concat(found.type || "any");
  const shown = types.map((type) => (type === "array" && found.items ? `array of ${nameOf(found.items) || kind(found.items)}` : type));
  return shown.join(" | ") + (found.format ? ` (${found.format})` : "");
}

function bounds(schema) {
  const names = ["pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "default"];
  const said = names.filter((name) => schema[name] !== undefined);
  return said.map((name) => `${name} ${JSON.stringify(schema[name])}`).join(", ");
}

// A schema's parts, each opened only when it is asked for: rules refer to themselves.
function parts(schema) {
  const found = resolved(schema);
  const rows = [];
  for (const [name, below] of Object.entries(found.properties || {})) {
    rows.push(part(name, below, (found.required || []).includes(name)));
  }
  if (found.items) rows.push(part("each", found.items, false));
  if (found.additionalProperties && typeof found.additionalProperties === "object") {
    rows.push(part("any other name", found.additionalProperties, false));
  }
  for (const way of found.oneOf || found.anyOf || found.allOf || []) {
    if (resolved(way).type !== "null") rows.push(part(nameOf(way) || "one way", way, false));
  }
  return rows.length ? make("ul", {}, rows) : null;
}

function hasParts(schema) {
  const found = resolved(schema);
  const ways = (found.oneOf || found.anyOf || found.allOf || []).length > 0;
  return Boolean(found.properties || found.items || ways || typeof found.additionalProperties === "object");
}

function part(name, schema, required) {
  const found = resolved(schema);
  const head = [make("code", {}, name), " ", make("span", { class: "quiet" }, kind(schema), required ? ", required" : "", " ", bounds(found)), " ", prose(found.description)];
  if (!hasParts(schema)) return make("li", {}, head);
  const details = make("details", {}, make("summary", {}, head));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(parts(schema) || "");
  });
  return make("li", {}, details);
}

function shape(schema) {
  const name = nameOf(schema);
  return make("details", {}, make("summary", {}, "Schema ", make("code", {}, name || kind(schema))), prose(resolved(schema).description), parts(schema));
}

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function examplesOf(media) {
  if (media.example !== undefined) return [["", media.example]];
  return Object.entries(media.examples || {}).map(([name, one]) => [name, one.value]);
}

function content(all) {
  return Object.entries(all || {}).map(([type, media]) => [
    make("p", {}, make("code", {}, type)),
    examplesOf(media).map(([name, value]) => [name ? make("span", { class: "quiet" }, name) : null, make("pre", {}, text(value))]),
    Object.keys(media.schema || {}).length ? shape(media.schema) : null,
  ]);
}

function parameters(list) {
  if (!list || !list.length) return [];
  const rows = list.map((one) => {
    const parameter = resolved(one);
    return make("tr", {},
      make("td", {}, make("code", {}, parameter.name)),
      make("td", { class: "quiet" }, parameter.in, parameter.required ? ", required" : ""),
      make("td", {}, prose(parameter.description), " ", make("span", { class: "quiet" }, kind(parameter.schema), " ", bounds(resolved(parameter.schema)))),
      make("td", {}, make("code", {}, text(parameter.example === undefined ? "" : parameter.example))));
  });
  return [make("h4", {}, "Parameters"), make("table", {}, rows)];
}

function quoted(value) {
  return `'${value.replace(/'/g, "'\\''")}'`;
}

function command(method, path, operation) {
  let filled = path;
  const words = ["curl"];
  if (method !== "get") words.push("-X", method.toUpperCase());
  for (const one of operation.parameters || []) {
    if (one.in === "path") filled = filled.replace(`{${one.name}}`, encodeURIComponent(one.example));
  }
  if ((operation.security || []).length) words.push("-H", '"Authorization: Bearer $EVENTYARD_API_KEY"');
  const bodies = Object.entries((operation.requestBody || {}).content || {});
  const [type, media] = bodies.find(([one]) => one !== "*/*") || [];
  if (type) {
    words.push("-H", quoted(`Content-Type: ${type}`), "-d", quoted(JSON.stringify(examplesOf(media)[0][1])));
  }
  words.push(quoted(location.origin + filled));
  return words.join(" ");
}

function answer(status, one) {
  const found = resolved(one);
  const headers = Object.entries(found.headers || {}).map(([name, header]) => make("li", {}, make("code", {}, name), " ", prose(header.description)));
  return make("details", status < "300" ? { open: "" } : {},
    make("summary", {}, make("b", {}, status), " ", prose(found.description)),
    headers.length ? make("ul", {}, headers) : null,
    content(found.content));
}

function article(method, path, operation) {
  const scopes = (operation.security || []).flatMap((one) => Object.values(one).flat());
  const body = operation.requestBody;
  return make("article", { id: operation.operationId },
    make("h3", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("code", {}, path)),
    make("p", {}, make("b", {}, prose(operation.summary), "."), " ", prose(operation.description), " ",
      make("span", { class: "quiet" }, scopes.length ? `Scope: ${scopes.join(", ")}.` : "Asks for no key.")),
    parameters(operation.parameters),
    body ? [make("h4", {}, "Body", body.required ? "" : " (may be empty)"), content(body.content)] : null,
    make("h4", {}, "Answers"),
    Object.entries(operation.responses).map(([status, one]) => answer(status, one)),
    make("h4", {}, "By hand"),
    make("pre", {}, command(method, path, operation)));
}

function show() {
  const contents = document.getElementById("contents");
  const main = document.getElementById("main");
  const filter = make("input", { type: "search", placeholder: "Filter", "aria-label": "Filter operations" });
  const links = [];
  main.replaceChildren(
    make("h1", {}, `${description.info.title} ${description.info.version}`),
    make("p", {}, prose(description.info.description)),
    make("p", {}, make("a", { href: "openapi.json" }, "openapi.json"), ` (OpenAPI ${description.openapi})`));
  contents.replaceChildren(filter);
  for (const tag of description.tags) {
    contents.append(make("h2", {}, tag.name));
    main.append(make("h2", {}, tag.name), make("p", {}, prose(tag.description)));
    for (const [path, item] of Object.entries(description.paths)) {
      for (const method of METHODS.filter((one) => item[one] && item[one].tags.includes(tag.name))) {
        const operation = item[method];
        const link = make("a", { href: `#${operation.operationId}`, title: `${method.toUpperCase()} ${path}` }, operation.summary);
        links.push([link, `${method} ${path} ${operation.summary}`.toLowerCase()]);
        contents.append(link);
        main.append(article(method, path, operation));
      }
    }
  }
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const [link, words] of links) link.hidden = !words.includes(wanted);
  });
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

// The key stays in this page's memory.
function askForKey(reason) {
  const key = make("input", { type: "password", autocomplete: "off", "aria-label": "API key" });
  const open = () => read(key.value.trim());
  key.addEventListener("keydown", (event) => event.key === "Enter" && open());
  document.getElementById("main").replaceChildren(
    make("h1", {}, "Eventyard API"),
    make("p", {}, reason),
    make("p", {}, "API key: ", key, " ", make("button", { type: "button", onclick: open }, "Open")));
  key.focus();
}

async function read(key) {
  const main = document.getElementById("main");
  try {
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const response = await fetch("openapi.json", { headers });
    const body = await response.json();
    if (response.status === 401 || response.status === 403) return askForKey(body.detail);
    if (!response.ok) throw new Error(body.detail);
    description = body;
    show();
  } catch (error) {
    main.replaceChildren(make("p", {}, `The description could not be read: ${error.message}`));
  }
}

read("");

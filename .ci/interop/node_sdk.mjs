// The official CloudEvents SDK for JavaScript as a client of the bus and as a target, unconfigured.
//
// Posts events made by the SDK to `POST /`, parses with the SDK what the bus delivers to targets in
// binary, structured and batch mode, and compares every attribute and the data.
//
// Usage: node node_sdk.mjs BUS_URL RECEIVER_PORT

import http from "node:http";
import { isDeepStrictEqual } from "node:util";
import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from "cloudevents";

const WAIT_MS = 30_000;
const OUT_MODES = ["binary", "structured", "batch"];
const [bus, port] = process.argv.slice(2);

let passed = 0;
const failures = [];

function check(name, holds, detail) {
  if (holds) passed += 1;
  else failures.push(`${name}: ${detail}`);
}

// What came, by mode and id.
const inbox = new Map();
const problems = [];

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const bytes = Buffer.concat(chunks);
    const mode = request.url.slice(1);
    const isBinary = request.headers["content-type"] === "application/octet-stream";
    try {
      const body = isBinary ? bytes : bytes.toString();
      const parsed = HTTP.toEvent({ headers: request.headers, body });
      for (const event of Array.isArray(parsed) ? parsed : [parsed]) {
        inbox.set(`${mode} ${event.id}`, event);
      }
      response.writeHead(204).end();
    } catch (error) {
      problems.push(`${mode}: the SDK refuses ${JSON.stringify(request.headers)} ${bytes}: ${error}`);
      response.writeHead(400).end();
    }
  });
});

async function take(mode, id) {
  const deadline = Date.now() + WAIT_MS;
  while (Date.now() < deadline) {
    const event = inbox.get(`${mode} ${id}`);
    if (event) return event;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return undefined;
}

// `ascii: false`: the SDK writes header values as they are, and Node refuses those beyond Latin-1.
const cases = [
  { name: "no data", ascii: true, attributes: {}, data: undefined },
  {
    name: "JSON",
    ascii: true,
    attributes: { datacontenttype: "application/json" },
    data: { message: "Grüße, 世界 ✓ 🚀", nested: { list: [1, 2.5, null, true], empty: {} } },
  },
  { name: "JSON array", ascii: true, attributes: {}, data: [{ total: 120 }, "ü"] },
  {
    name: "text",
    ascii: true,
    attributes: { datacontenttype: "text/plain" },
    data: 'Grüße, 世界 ✓\r\nsecond line "quoted"',
  },
  {
    name: "bytes",
    ascii: true,
    attributes: { datacontenttype: "application/octet-stream" },
    data: Uint8Array.from({ length: 256 }, (_, index) => index),
  },
  {
    name: "every attribute",
    ascii: true,
    attributes: {
      datacontenttype: "application/json",
      dataschema: "https://example.com/schemas/order#v1",
      subject: "orders/17 of 100% Ltd.",
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      partitionkey: "Miller & Sons; a=b, c",
      number: -2147483648,
      truth: true,
    },
    data: { ok: true },
  },
  {
    name: "attributes beyond ASCII",
    ascii: false,
    attributes: { subject: 'Zürich ☂ 100% of "quoted" \\ 🚀', partitionkey: "Müller & Söhne" },
    data: { ok: true },
  },
];

/** The member as this SDK reads it after the way through the bus. */
function expected(name, value, sentAs, receivedAs) {
  const throughHeaders = sentAs === "binary" || receivedAs === "binary";
  const isText = typeof value === "string" || value === undefined;
  return throughHeaders && !isText ? String(value) : value;
}

/** The SDK leaves percent-encoded headers as they are. */
function read(value, receivedAs) {
  return receivedAs === "binary" && typeof value === "string" ? decodeURIComponent(value) : value;
}

function sameData(got, wanted) {
  if (wanted instanceof Uint8Array) {
    // From structured mode the SDK makes a `Uint32Array` with a byte in each element.
    return got !== undefined && isDeepStrictEqual(Array.from(got), Array.from(wanted));
  }
  // Absent data comes as "" in binary mode.
  if (wanted === undefined) return got === undefined || got === "";
  return isDeepStrictEqual(got, wanted);
}

async function post(sentAs, event) {
  if (sentAs === "batch" || event.data === undefined) {
    // The SDK's transport sends neither a batch nor an event without data.
    const type = "application/cloudevents-batch+json";
    const message =
      sentAs === "batch"
        ? { headers: { "content-type": type }, body: `[${event.map(String).join(",")}]` }
        : HTTP[sentAs](event);
    const { headers, body } = message;
    const answer = await fetch(bus, { method: "POST", headers, body });
    return answer.text();
  }
  const mode = sentAs === "binary" ? Mode.BINARY : Mode.STRUCTURED;
  const answer = await emitterFor(httpTransport(bus), { mode })(event);
  return answer.body;
}

function acceptedIds(answer) {
  try {
    return JSON.parse(answer).accepted.map((one) => one.id);
  } catch {
    return answer;
  }
}

await new Promise((resolve) => server.listen(Number(port), "127.0.0.1", resolve));

const sent = [];
for (const sentAs of ["binary", "structured", "batch"]) {
  const batch = [];
  for (const [index, { name, ascii, attributes, data }] of cases.entries()) {
    if (sentAs === "binary" && !ascii) continue;
    const event = new CloudEvent({
      id: `node-${sentAs}-${index}`,
      source: `/node/${sentAs}`,
      type: "com.example.interop",
      time: "2024-02-29T23:59:59.123Z",
      ...attributes,
      data,
    });
    sent.push({ name, sentAs, event, attributes, data });
    if (sentAs === "batch") {
      batch.push(event);
      continue;
    }
    const answer = await post(sentAs, event);
    const accepted = isDeepStrictEqual(acceptedIds(answer), [event.id]);
    check(`${name} posted as ${sentAs}`, accepted, answer);
  }
  if (batch.length > 0) {
    const answer = await post("batch", batch);
    const ids = batch.map((event) => event.id);
    check("a batch posted", isDeepStrictEqual(acceptedIds(answer), ids), answer);
  }
}

for (const { name, sentAs, event, attributes, data } of sent) {
  for (const receivedAs of OUT_MODES) {
    const place = `${name}, sent ${sentAs}, received ${receivedAs}`;
    const got = await take(receivedAs, event.id);
    if (!got) {
      check(place, false, "never came");
      continue;
    }
    const wanted = { ...attributes, source: event.source, type: event.type, specversion: "1.0" };
    for (const [member, value] of Object.entries(wanted)) {
      const should = expected(member, value, sentAs, receivedAs);
      const is = read(got[member], receivedAs);
      check(`${place}: ${member}`, isDeepStrictEqual(is, should), `${is} instead of ${should}`);
    }
    const time = Date.parse(got.time) === Date.parse(event.time);
    check(`${place}: time`, time, `${got.time} instead of ${event.time}`);
    check(`${place}: data`, sameData(got.data, data), JSON.stringify(got.data));
  }
}
check("every delivery parses", problems.length === 0, problems.slice(0, 5).join("\n  "));

server.close();
server.closeAllConnections();
for (const failure of failures) console.log(`FAILED ${failure}`);
console.log(`node: ${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length > 0 ? 1 : 0;

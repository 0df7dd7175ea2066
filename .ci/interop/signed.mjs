// Receives signed deliveries and verifies them with npm's standardwebhooks, and v1a with Node's own
// ed25519.
//
// Usage: node signed.mjs PORT COUNT HMAC_KEY PUBLIC_KEY
import { createPublicKey, verify } from "node:crypto";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const [port, count, secret, publicKey] = process.argv.slice(2);
const raw = Buffer.from(publicKey.replace("whpk_", ""), "base64");
// The fixed head of an ed25519 public key in DER (RFC 8410).
const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]);
const key = createPublicKey({ key: der, format: "der", type: "spki" });
let verified = 0;
const end = (code) => {
  console.log(`node: ${verified} of ${count} verified`);
  process.exit(code);
};
setTimeout(() => end(1), 60_000);

createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks);
    const hook = new Webhook(secret);
    hook.verify(body.toString(), request.headers);
    let changed = false;
    try {
      hook.verify(`${body} `, request.headers);
      changed = true;
    } catch {}
    if (changed) throw new Error("a changed body verified");
    const signatures = request.headers["webhook-signature"].split(" ");
    const v1a = signatures.find((signature) => signature.startsWith("v1a,")).slice(4);
    const head = `${request.headers["webhook-id"]}.${request.headers["webhook-timestamp"]}.`;
    const signed = Buffer.concat([Buffer.from(head), body]);
    if (!verify(null, signed, key, Buffer.from(v1a, "base64"))) throw new Error("v1a does not verify");
    verified += 1;
    response.writeHead(204).end(() => verified >= Number(count) && end(0));
  });
}).listen(Number(port), "127.0.0.1");

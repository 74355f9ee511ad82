// Reports two buyers' usage from Node.js, and lists what is stored of one.
//
// Needs the packages of package.json beside it (npm ci). METERING_API_URL is the API's URL, as the deployment prints
// it; AWS_REGION is its region, and credentials come from the usual AWS settings.

import { setTimeout as wait } from "node:timers/promises";
import { Sha256 } from "@aws-crypto/sha256-js";
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { SignatureV4 } from "@smithy/signature-v4";

const { METERING_API_URL, AWS_REGION } = process.env;
if (!METERING_API_URL || !AWS_REGION) {
  console.error("Set METERING_API_URL and AWS_REGION.");
  process.exit(2);
}
const signer = new SignatureV4({
  service: "execute-api",
  region: AWS_REGION,
  credentials: defaultProvider(),
  sha256: Sha256,
});

async function call(method, path, { query = {}, payload } = {}) {
  const url = new URL(METERING_API_URL.replace(/\/$/, "") + path);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const body = payload === undefined ? undefined : JSON.stringify(payload);
  // Since all entries have a transaction_id, it is safe to send a request again, also when its outcome is not
  // known. Each attempt is signed again: a signature is valid for five minutes, and retries may take longer.
  for (let attempt = 1; ; attempt += 1) {
    const request = await signer.sign({
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      port: url.port ? Number(url.port) : undefined,
      path: url.pathname,
      query,
      headers: { host: url.host, "content-type": "application/json" },
      body,
    });
    let answer;
    try {
      answer = await fetch(url, { method, headers: request.headers, body, signal: AbortSignal.timeout(35_000) });
    } catch (error) {
      if (attempt === 8) throw error;
    }
    if (answer && ![429, 500, 502, 503, 504].includes(answer.status)) {
      const document = await answer.json();
      // detail says what to do, errors what is wrong where, instance what to ask the operator about.
      if (!answer.ok) throw new Error(JSON.stringify(document, null, 2));
      return document;
    }
    if (attempt === 8) throw new Error(`No answer but ${answer.status} after ${attempt} attempts`);
    const retryAfter = 1000 * Number(answer?.headers.get("retry-after") ?? 0);
    await wait(retryAfter + Math.random() * Math.min(30_000, 500 * 2 ** attempt));
  }
}

// An id for each buyer's hour: the usage is stored once, however often and in whatever company it is sent.
const id = process.argv[2] ?? new Date().toISOString().slice(0, 13);
const { duplicates = [] } = await call("POST", "/insertMeteringRecords", {
  payload: {
    buyers: [
      {
        customerIdentifier: "ExWoL3vTir2",
        transaction_id: id,
        metered_dimensions: [{ dimension_name: "metered_1_id", dimension_value: 10 }],
      },
      {
        customerIdentifier: "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345",
        transaction_id: id,
        metered_dimensions: [{ dimension_name: "metered_1_id", dimension_value: 3 }],
      },
    ],
  },
});
for (const { customerIdentifier, differs } of duplicates) {
  if (differs) console.error(`${customerIdentifier}: other usage is stored under ${id}, and counts.`);
}
const { records } = await call("GET", "/listMeteringRecords/ExWoL3vTir2", { query: { status: "pending" } });
console.log(JSON.stringify(records, null, 2));

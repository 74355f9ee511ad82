// Reports usage from Node.js: npm install aws4fetch @aws-sdk/credential-provider-node
//
// METERING_API_URL is the URL that the deployment printed, AWS_REGION its region; credentials are those of the AWS CLI.

import { setTimeout as sleep } from "node:timers/promises";
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { AwsClient } from "aws4fetch";

const ATTEMPTS = 8;
const RETRIED = [429, 500, 502, 503, 504];
const { METERING_API_URL, AWS_REGION: region } = process.env;
const credentials = defaultProvider();

// Stores usage, each entry once for its transaction_id, and returns the entries that were known before. Because of the
// ids it is safe to repeat, even if nobody knows whether the usage was stored.
async function reportUsage(buyers) {
  const url = `${METERING_API_URL.replace(/\/$/, "")}/insertMeteringRecords`;
  const body = JSON.stringify({ buyers });
  let failure;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    let retryAfter = 0;
    try {
      // Signs each attempt when it is sent: a signature is valid for five minutes, and retries may take longer.
      const client = new AwsClient({ ...(await credentials()), service: "execute-api", region, retries: 0 });
      const answer = await client.fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        signal: AbortSignal.timeout(35_000),
      });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text).duplicates ?? [];
      failure = explained(answer.status, text);
      if (!RETRIED.includes(answer.status)) break;
      retryAfter = Number(answer.headers.get("retry-after") ?? 0);
    } catch (error) {
      failure = String(error.cause ?? error);
    }
    if (attempt < ATTEMPTS) await sleep(1000 * (retryAfter + Math.random() * Math.min(30, 2 ** attempt / 2)));
  }
  throw new Error(failure);
}

// What a problem document says: what to do, the request's id, and what is wrong where.
function explained(status, text) {
  if (!text.startsWith("{")) return `${status} ${text}`;
  const { detail, instance, errors = [] } = JSON.parse(text);
  return [`${status} ${detail} (${instance})`, ...errors.map((error) => `${error.pointer}: ${error.detail}`)].join("\n");
}

const hour = process.argv[2] ?? new Date().toISOString().slice(0, 13);
const customer = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345";
const usage = [
  { dimension_name: "metered_1_id", dimension_value: 10 },
  { dimension_name: "metered_3_id", dimension_value: 20 },
];
const known = await reportUsage([{ customerIdentifier: customer, transaction_id: hour, metered_dimensions: usage }]);
// An entry that "differs" was sent before with other usage, which counts.
console.log(JSON.stringify({ customer, transaction_id: hour, known_before: known }));

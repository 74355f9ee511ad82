// Calls the API through openapi-fetch with the types of openapi-typescript, and prints what it got.
import { AwsClient } from "aws4fetch";
import createClient from "openapi-fetch";
import type { paths } from "./schema.mjs";

declare const process: { env: Record<string, string> };
const { METERING_API_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, CUSTOMER } = process.env;

const signer = new AwsClient({
  accessKeyId: AWS_ACCESS_KEY_ID,
  secretAccessKey: AWS_SECRET_ACCESS_KEY,
  region: AWS_REGION,
  service: "execute-api",
  retries: 0,
});
const api = createClient<paths>({ baseUrl: METERING_API_URL, fetch: (request) => signer.fetch(request) });
const path = { customerIdentifier: CUSTOMER };

const usage = (transaction_id: string, ...quantities: number[]) => ({
  transaction_id,
  metered_dimensions: quantities.map((dimension_value) => ({ dimension_name: "m", dimension_value })),
});
const insert = (transaction_id: string, ...quantities: number[]) =>
  api.POST("/insertMeteringRecord/{customerIdentifier}", {
    params: { path },
    body: usage(transaction_id, ...quantities),
  });
const list = async (query: paths["/listMeteringRecords/{customerIdentifier}"]["get"]["parameters"]["query"]) => {
  const { data, error } = await api.GET("/listMeteringRecords/{customerIdentifier}", { params: { path, query } });
  if (!data) throw new Error(error.detail);
  return data;
};

await insert("t-1", 1);
await insert("t-2", 2);
await api.POST("/insertMeteringRecords", {
  body: { buyers: [{ customerIdentifier: CUSTOMER, ...usage("t-3", 3) }] },
});
const replayed = (await insert("t-1", 1)).data;

const values: (number | null)[] = [];
let next_token: string | undefined;
do {
  const page = await list({ limit: 1, next_token });
  values.push(...(page.records ?? []).flatMap((record) => record.dimension_usage.map(({ value }) => value)));
  next_token = page.next_token ?? undefined;
} while (next_token);

const totals = await list({ group_by: "dimension" });
const { error, response } = await insert("t-4", 1, 1);
if (!error || !("errors" in error)) throw new Error("not refused");

console.log(
  JSON.stringify({
    duplicates: replayed?.duplicates?.map(({ transaction_id }) => transaction_id),
    values,
    pending: totals.totals?.map(({ dimension, pending }) => [dimension, pending.quantity]),
    record_count: totals.record_count,
    errors: [response.status, error.type, ...(error.errors ?? []).map(({ code }) => code)],
  }),
);

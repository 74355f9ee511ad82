// Sends requests signed by each signer of Node.js, and prints which were accepted: {signer: {form: accepted}}.
// Arguments: {form: [method, url, body]} as JSON.
import { request } from "node:http";
import aws4 from "aws4";
import { AwsClient } from "aws4fetch";

const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region } = process.env;
const service = "execute-api";
const headers = { "Content-Type": "application/json" };

const signers = {
  aws4: (method, url, body) => {
    const { hostname, port, host, origin } = new URL(url);
    // The path as it is: URL changes some characters.
    const options = { method, host, path: url.slice(origin.length), service, region, body, headers: { ...headers } };
    const signed = aws4.sign(options, { accessKeyId, secretAccessKey });
    return new Promise((resolve, reject) => {
      request({ ...signed, hostname, port }, (answer) => resolve(answer.resume().statusCode === 200))
        .on("error", reject)
        .end(body);
    });
  },
  aws4fetch: async (method, url, body) => {
    const client = new AwsClient({ accessKeyId, secretAccessKey, region, service, retries: 0 });
    return (await client.fetch(url, { method, body, headers })).ok;
  },
};

const results = {};
for (const [name, send] of Object.entries(signers)) {
  results[name] = {};
  for (const [form, call] of Object.entries(JSON.parse(process.argv[2]))) results[name][form] = await send(...call);
}
console.log(JSON.stringify(results));

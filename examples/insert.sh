#!/usr/bin/env bash
# Reports usage with curl. METERING_API_URL is the URL that the deployment printed.
set -euo pipefail
: "${METERING_API_URL:?}" "${AWS_REGION:?}" "${AWS_ACCESS_KEY_ID:?}" "${AWS_SECRET_ACCESS_KEY:?}"

# The id of this hour's usage: curl may repeat the request, and so may cron. The usage is stored once.
id="${1:-$(date -u +%Y-%m-%dT%H)}"
customer=arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345

# curl signs each retry again and waits as long as Retry-After says. A failure prints the problem: what to do
# (detail), what is wrong where (errors), and the request's id (instance). The credentials are read from standard
# input, because other users of the machine can see a command line.
curl --silent --show-error --fail-with-body --max-time 35 --retry 8 --retry-connrefused --config - \
  --aws-sigv4 "aws:amz:${AWS_REGION}:execute-api" \
  --header 'Content-Type: application/json' --header 'Prefer: return=representation' --data '{"buyers": [
    {"customerIdentifier": "'"${customer}"'", "transaction_id": "'"${id}"'", "metered_dimensions": [
      {"dimension_name": "metered_1_id", "dimension_value": 10},
      {"dimension_name": "metered_3_id", "dimension_value": 20}]}]}' \
  "${METERING_API_URL%/}/insertMeteringRecords" <<CREDENTIALS
user = "${AWS_ACCESS_KEY_ID}:${AWS_SECRET_ACCESS_KEY}"
${AWS_SESSION_TOKEN:+header = x-amz-security-token:$AWS_SESSION_TOKEN}
CREDENTIALS
echo

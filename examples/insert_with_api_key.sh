#!/usr/bin/env bash
# Reports usage with curl to an API deployed with "authorization": "API_KEY". METERING_API_URL is the URL that the
# deployment printed, METERING_API_KEY what `aws apigateway get-api-key --include-value --api-key <ApiKeyId>` shows.
set -euo pipefail
: "${METERING_API_URL:?}" "${METERING_API_KEY:?}"

# transaction_id is the id of this hour's usage: it is stored once, however often this runs. The key is read from
# standard input, because other users of the machine can see a command line.
curl --silent --show-error --fail-with-body --max-time 35 --retry 8 --retry-connrefused --header @- \
  --header 'Content-Type: application/json' \
  --data '{"transaction_id": "'"${1:-$(date -u +%Y-%m-%dT%H)}"'",
           "metered_dimensions": [{"dimension_name": "metered_1_id", "dimension_value": 10}]}' \
  "${METERING_API_URL%/}/insertMeteringRecord/arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345" \
  <<<"x-api-key: ${METERING_API_KEY}"
echo

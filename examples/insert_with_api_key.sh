#!/usr/bin/env bash
# Reports one buyer's usage to an API deployed with "authorization": "API_KEY".
#
#   METERING_API_URL   the API's URL, as the deployment prints it
#   METERING_API_KEY   the key: aws apigateway get-api-key --include-value --api-key <ApiKeyId>
set -euo pipefail
: "${METERING_API_URL:?}" "${METERING_API_KEY:?}"

# transaction_id is the id of this hour's usage: it is stored once, however often this runs.
# The key is read from standard input, because other users of the machine can see a command line.
curl --silent --show-error --fail-with-body --retry 5 --header @- \
  "${METERING_API_URL%/}/insertMeteringRecord/ExWoL3vTir2" \
  --header 'Content-Type: application/json' \
  --data '{"transaction_id":"'"${1:-$(date -u +%Y-%m-%dT%H)}"'",
           "metered_dimensions":[{"dimension_name":"metered_1_id","dimension_value":10}]}' \
  <<<"x-api-key: ${METERING_API_KEY}"
echo

#!/usr/bin/env bash
# Reports one buyer's usage to an API deployed with "authorization": "API_KEY".
#
#   METERING_API_URL   the API's URL, as the deployment prints it
#   METERING_API_KEY   the key: aws apigateway get-api-key --include-value --api-key <ApiKeyId>
set -euo pipefail
: "${METERING_API_URL:?}" "${METERING_API_KEY:?}"

# The key is read from standard input, because other users of the machine can see a command line.
curl --silent --show-error --fail-with-body --retry 5 --header @- \
  "${METERING_API_URL%/}/insertMeteringRecord/ExWoL3vTir2" \
  --header 'Content-Type: application/json' --header "Idempotency-Key: usage-of-${1:-$(date -u +%Y-%m-%dT%H)}" \
  --data '{"metered_dimensions":[{"dimension_name":"metered_1_id","dimension_value":10}]}' \
  <<<"x-api-key: ${METERING_API_KEY}"
echo

#!/usr/bin/env bash
# Reports two buyers' usage with curl, and lists what is stored of one.
#
#   METERING_API_URL   the API's URL, as the deployment prints it (make local: api_url in .local/api.json)
#   AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary credentials, AWS_SESSION_TOKEN
set -euo pipefail
: "${METERING_API_URL:?}" "${AWS_REGION:?}" "${AWS_ACCESS_KEY_ID:?}" "${AWS_SECRET_ACCESS_KEY:?}"

call() {
  # curl signs each retry again, and waits as long as Retry-After says.
  curl --silent --show-error --fail-with-body --retry 5 \
    --aws-sigv4 "aws:amz:${AWS_REGION}:execute-api" --user "${AWS_ACCESS_KEY_ID}:${AWS_SECRET_ACCESS_KEY}" \
    ${AWS_SESSION_TOKEN:+--header "x-amz-security-token: ${AWS_SESSION_TOKEN}"} "$@"
}

# An id for each buyer's hour: curl may retry, and so may cron. The usage is stored once.
id="${1:-$(date -u +%Y-%m-%dT%H)}"
call "${METERING_API_URL%/}/insertMeteringRecords" --header 'Content-Type: application/json' --data '{"buyers":[
  {"customerIdentifier":"ExWoL3vTir2", "transaction_id":"'"${id}"'",
   "metered_dimensions":[{"dimension_name":"metered_1_id","dimension_value":10}]},
  {"customerIdentifier":"arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345", "transaction_id":"'"${id}"'",
   "metered_dimensions":[{"dimension_name":"metered_1_id","dimension_value":3}]}]}'
echo
call "${METERING_API_URL%/}/listMeteringRecords/ExWoL3vTir2?status=pending"
echo

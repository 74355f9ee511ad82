"""The REST API: three routes, each to its function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput
from aws_cdk import aws_apigateway as apigateway
from constructs import Construct

if TYPE_CHECKING:
    from aws_cdk import aws_lambda as lambda_

STAGE_NAME = "prod"
# Greedy, because a License ARN has a slash.
CUSTOMER_IDENTIFIER = "{customerIdentifier+}"


class MeteringApi(Construct):
    """The REST API of the seed's three routes, at the stage ``prod``.

    Parameters
    ----------
    scope : Construct
        The construct it belongs to.
    construct_id : str
        Its id there.
    insert_one, insert_many, list_records : IFunction
        The functions behind the routes.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        insert_one: lambda_.IFunction,
        insert_many: lambda_.IFunction,
        list_records: lambda_.IFunction,
    ) -> None:
        super().__init__(scope, construct_id)
        self.rest_api = apigateway.RestApi(
            self,
            "RestApi",
            rest_api_name="marketplace-metering",
            description="Stores usage for AWS Marketplace metering, and lists what became of it.",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            deploy_options=apigateway.StageOptions(stage_name=STAGE_NAME),
            default_method_options=apigateway.MethodOptions(
                authorization_type=apigateway.AuthorizationType.IAM
            ),
        )
        # The stack's outputs name the URLs; CDK's own output would say one of them twice.
        self.rest_api.node.try_remove_child("Endpoint")
        self._route(
            "InsertMeteringRecordUrl", "POST", f"insertMeteringRecord/{CUSTOMER_IDENTIFIER}", insert_one
        )
        self._route("InsertMeteringRecordsUrl", "POST", "insertMeteringRecords", insert_many)
        self._route(
            "ListMeteringRecordsUrl", "GET", f"listMeteringRecords/{CUSTOMER_IDENTIFIER}", list_records
        )

    def _route(self, output: str, method: str, path: str, function: lambda_.IFunction) -> None:
        resource = self.rest_api.root.resource_for_path(path)
        resource.add_method(method, apigateway.LambdaIntegration(function, allow_test_invoke=False))
        url = self.rest_api.url_for_path("/" + path.replace("+}", "}"))
        CfnOutput(self, output, value=url, description=f"{method} {path}").override_logical_id(output)

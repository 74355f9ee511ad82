"""The CDK app: the deployment, as AWS CDK constructs."""

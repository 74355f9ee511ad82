"""The deployment, as AWS CDK constructs."""

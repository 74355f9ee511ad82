"""What make runs against an account: before a deployment, and after it."""

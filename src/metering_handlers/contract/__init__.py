"""What callers send and get, and what the tables hold. Imports no AWS: infra/ and the commands read it."""

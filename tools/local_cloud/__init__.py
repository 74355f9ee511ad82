"""The project on one machine: a local cloud, the app deployed to it, and a demonstration over HTTP."""

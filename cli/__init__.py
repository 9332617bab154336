"""The command line `tx81`, and the embedded stack that it can run."""

"""One module a resource; each route reads, or asks the core to act, and shows the outcome."""

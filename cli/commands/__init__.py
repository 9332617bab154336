"""One module a resource: arguments in, one or two calls of the client, a page out, an exit code."""

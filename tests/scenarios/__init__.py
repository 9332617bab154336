"""A package, so that its labs are taken down when its last test has run."""

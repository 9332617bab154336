"""Waiting for jobs and batches with live progress; says why if nothing moves."""

"""Our own load client: asks one server many times, measures each answer, writes down what it got.

A program of its own (`python -m workers.load`). Start with `driving.py`.
"""

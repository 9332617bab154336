"""From any earlier schema to the newest one and back. `python -m migrations` upgrades."""

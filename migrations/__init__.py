"""The way from any earlier schema to this one. `python -m migrations` upgrades to the newest."""

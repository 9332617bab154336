"""Card groups and CPU seats: which are present, which may take work, and why one may not.

Occupancy is a lease (`jobs/leases.py`); presence is a heartbeat, service state is an order or evidence, both here.
Start with `service.py` (drain, resume, quarantine) and `presence.py` (announce, beat, leave).
"""

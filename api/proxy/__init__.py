"""One address for all servers: a request in OpenAI's words goes to the server with the most room for it.

Start with `fleet.py` (which server is asked) and `relay.py` (how its answer comes back).
"""

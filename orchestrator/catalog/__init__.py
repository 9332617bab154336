"""What jobs are made from: models, releases with profiles, kernel images and goldens, each checked when it comes in.

Everything here is named by its digest and lies under an allowed root or in the artifact store.
Start with `registry.py`; `lookups.py` finds what a request names, `paths.py` says which paths are allowed,
`queries.py` reads what is there.
"""

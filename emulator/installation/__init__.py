"""The vendor's tree on disk: scripts, packages, conda environments, and the programs that install them.

Every script starts one module of the other folders by its name. Installing again updates scripts and models and keeps
events, cards, faults and compiled models. Read `install.py` first.
"""

"""How the vendor's tools are called and read, by what a profile says."""

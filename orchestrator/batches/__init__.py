"""Many jobs submitted as one thing: written whole, stopped by the first lasting fault if asked, told in one report."""

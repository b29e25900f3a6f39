"""``turnkeeper demo``: the two field reports, played by a platform of their own."""

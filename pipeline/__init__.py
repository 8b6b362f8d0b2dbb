"""How it is answered: images -> models -> answers."""

"""What can go wrong while a model trains: evidence, rules, recovery."""

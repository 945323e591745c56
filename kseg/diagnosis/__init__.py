"""What can go wrong while a model trains: windows of evidence, rules, recovery."""

"""Results of a registration: record, acceptance, pictures."""

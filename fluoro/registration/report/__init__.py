"""Results of a registration: record, acceptance, images."""

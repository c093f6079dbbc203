"""represent: train an encoder without labels."""

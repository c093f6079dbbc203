"""Learning about labels from what one step of learning does to trusted rows: shared by purify and retrain."""

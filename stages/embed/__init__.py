"""embed: features of all samples, their neighbours, strangers and duplicates."""

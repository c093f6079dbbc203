"""Training: order, schedule, optimisers, the loop, and the state that lets a killed run go on."""

"""Networks: backbones, heads, where they run, and their weights in and out."""

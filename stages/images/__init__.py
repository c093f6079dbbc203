"""Images: decoding, the uint8 cache, augmentation of whole batches."""

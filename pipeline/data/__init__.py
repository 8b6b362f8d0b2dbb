"""Files become arrays: images decoded once into a cache, augmented, split, and predictions joined by id."""

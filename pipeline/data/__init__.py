"""Images and predictions as arrays: images are decoded once into a cache, split and augmented."""

"""What is asked: tables, images, classes, where the data comes from, what is wrong with it."""

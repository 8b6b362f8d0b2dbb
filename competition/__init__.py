"""What is asked: a competition's files, tables, images, metric and scores, and where they come from."""

"""What is wrong with a competition's images and labels."""

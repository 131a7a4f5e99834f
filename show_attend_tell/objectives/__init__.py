"""What is learned: the losses that training minimises."""

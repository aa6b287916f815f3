"""The values that everything else speaks of. They import nothing of the product but each other."""

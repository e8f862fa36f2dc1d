"""From arrays and DataLoaders to checked batches."""

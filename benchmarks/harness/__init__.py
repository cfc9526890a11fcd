"""What every benchmark uses: records, instances, ratios of two sides run in turn, MNIST."""

"""What can be said of a text without a model: sentences, words, stems, codes, and how much two texts share."""

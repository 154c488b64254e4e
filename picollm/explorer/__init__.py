"""Two models side by side in one page that opens without a network, and one text in one model: what is looked at, not what is measured."""

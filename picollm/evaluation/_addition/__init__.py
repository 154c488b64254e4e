"""What is known of an adder beyond a sample: all pairs, or as many cases as decide all of them, and strata where errors hide."""

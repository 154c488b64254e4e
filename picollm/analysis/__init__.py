"""Looking into trained models: one analysis a file, and every number beside what chance gives."""

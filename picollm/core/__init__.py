"""What every stage stands on: parameters, files, errors, processes. A folder, so that a stage names one dependency and not ten."""

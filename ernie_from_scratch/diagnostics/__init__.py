"""Looking at machines, corpora and runs: doctor, inspect, report, replay."""

"""Coverage-guided fuzzing of whatever reads the files of a store; docs/fuzzing.md."""

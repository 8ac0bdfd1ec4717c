//! Integration tests: table of contents.

//! An ECS federation in one process.

//! A whole run: configuration, run folder, progress, report.

pub mod verify;

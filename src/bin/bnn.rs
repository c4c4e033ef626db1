//! The command (to come).
fn main() {}

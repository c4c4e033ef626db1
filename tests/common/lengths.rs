//! Lengths in files that nobody can allocate, and what they would have cost.

/// The most address space that this process ever had, in bytes: whatever is allocated shows here, touched or not.
#[cfg(target_os = "linux")]
pub fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmPeak:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    1024 * kib.parse::<u64>().unwrap()
}

#[cfg(not(target_os = "linux"))]
pub fn peak() -> u64 {
    0
}

/// Lengths that nobody can allocate, and one that a system which overcommits may grant.
pub const HOSTILE: [u64; 6] = [
    u64::MAX,
    u64::MAX / 2,
    u64::MAX / 4 + 1,
    1 << 61,
    1 << 40,
    1 << 34,
];

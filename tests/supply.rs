//! Where the crates come from that are built: what Cargo.lock pins, against docs/design.md and the rules in .ci/deny.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A package of Cargo.lock.
struct Package {
    source: Option<String>,
    checksum: Option<String>,
    dependencies: BTreeSet<String>,
}

/// The packages of Cargo.lock by name and version.
fn locked() -> BTreeMap<(String, String), Package> {
    let lock = read("Cargo.lock");
    let value = |block: &str, key: &str| {
        let line = block
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{key} = ")));
        line.map(|v| v.trim_matches('"').to_string())
    };
    let blocks = lock.split("[[package]]").skip(1);
    let package = |block: &str| {
        let list = block.split("dependencies = [").nth(1).unwrap_or("");
        let list = list.split(']').next().expect("a list");
        let names = list
            .split(',')
            .map(|n| n.trim().trim_matches('"'))
            .filter(|n| !n.is_empty());
        // Where there are two versions, the version follows.
        let first = |n: &str| n.split(' ').next().expect("a name").to_string();
        let of = |key| value(block, key);
        (
            (
                of("name").expect("a name"),
                of("version").expect("a version"),
            ),
            Package {
                source: of("source"),
                checksum: of("checksum"),
                dependencies: names.map(first).collect(),
            },
        )
    };
    blocks.map(package).collect()
}

/// Names in the first column of the table of crates.
fn documented() -> BTreeSet<String> {
    let page = read("docs/design.md");
    let section = page.split("\n## Dependencies\n").nth(1).expect("a heading");
    let rows = section.lines().skip_while(|l| !l.starts_with('|'));
    let rows = rows.take_while(|l| l.starts_with('|')).skip(2);
    let names = rows.flat_map(|row| row.split('|').nth(1).expect("a cell").split(','));
    names.map(|n| n.trim().to_string()).collect()
}

#[test]
fn every_crate_is_pinned_and_comes_from_the_registry() {
    let all = locked();
    assert!(all.len() > 50);
    for ((name, version), package) in &all {
        if name == "bnn" {
            assert_eq!((&package.source, &package.checksum), (&None, &None));
            continue;
        }
        let source = package.source.as_deref();
        assert_eq!(
            source,
            Some("registry+https://github.com/rust-lang/crates.io-index"),
            "{name} {version}"
        );
        let sum = package.checksum.as_deref().unwrap_or("");
        let is_hex = sum.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(sum.len() == 64 && is_hex, "{name} {version}: {sum}");
    }
}

#[test]
fn the_table_of_crates_is_that_of_the_lock() {
    let all = locked();
    let own = all.iter().find(|((name, _), _)| name == "bnn");
    assert_eq!(own.expect("this crate").1.dependencies, documented());
}

/// The one crate that nobody maintains is an exception with a reason in both places, and only as long as it is there.
#[test]
fn what_is_not_maintained_is_said() {
    let there = locked().keys().any(|(name, _)| name == "bincode");
    let rules = read(".ci/deny.toml");
    assert_eq!(there, rules.contains("reason = \"bincode is"));
    assert_eq!(there, documented().contains("bincode"));
    let pinned = read("Cargo.toml").contains("bincode = { version = \"=");
    assert_eq!(there, pinned);
}

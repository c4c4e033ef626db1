//! What may import what, what lies at the top level, and where unsafe code may stand: read from the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms from the bottom up. A room sees those on lower floors alone, not its neighbours.
const FLOORS: [&[&str]; 11] = [
    &["bf16", "disk", "error", "rng"],
    &["memory"],
    &["backend", "batch_means"],
    &["gpt"],
    &["posterior"],
    &["baseline"],
    &["samplers"],
    &["generate", "metrics", "store"],
    &["settings"],
    &["inference"],
    &["run", "bin", "capi"],
];

/// `data` sees the ground floor and memory, and is seen from `posterior` on.
const DATA_IS_SEEN_FROM: usize = 4;

fn floor(room: &str) -> usize {
    let at = FLOORS.iter().position(|rooms| rooms.contains(&room));
    at.unwrap_or_else(|| panic!("{room} has no floor"))
}

fn may_see(room: &str, other: &str) -> bool {
    match (room, other) {
        (a, b) if a == b => true,
        (_, "data") => floor(room) >= DATA_IS_SEEN_FROM,
        ("data", other) => floor(other) <= 1,
        // the map, and the build script, which sees nothing
        ("lib", _) => true,
        ("build", _) => false,
        (room, other) => floor(other) < floor(room),
    }
}

/// Every file below `folder` whose name ends in `.rs`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The room of a file: its folder below `src`, or its name.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str();
    first.to_str().unwrap().trim_end_matches(".rs").to_string()
}

/// A file's text without comments and without what stands in quotes.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("r#\"") {
            rest = &rest[3 + rest[3..].find("\"#").unwrap() + 2..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = &rest[1 + rest[1..].find('\'').unwrap() + 1..];
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| match (c, escaped) {
                ('"', false) => true,
                (c, was) => {
                    escaped = c == '\\' && !was;
                    false
                }
            });
            rest = &rest[1 + end.expect("a string ends") + 1..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The rooms that a piece of code names by `crate::room`, also in `crate::{room, …}`; `crate::Error` is error's.
fn seen(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    let mut add = |name: &str| {
        let name = name.trim();
        if name == "self" || name.is_empty() {
            return;
        }
        let of_error = name == "Error" || name == "Result";
        rooms.insert(if of_error { "error" } else { name }.to_string());
    };
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let Some(inside) = rest.strip_prefix('{') else {
            add(word(rest));
            continue;
        };
        let (mut depth, mut start) = (1, true);
        for (i, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => start = true,
                c if start && depth == 1 && !c.is_whitespace() => {
                    add(word(&inside[i..]));
                    start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    rooms
}

#[test]
fn imports_point_downward() {
    let mut rooms = BTreeSet::new();
    for path in sources(&root().join("src")) {
        let (room, text) = (room(&path), std::fs::read_to_string(&path).unwrap());
        let code = code(&text);
        for other in seen(&code, "crate::") {
            assert!(
                may_see(&room, &other),
                "{}: {room} sees {other}",
                path.display()
            );
        }
        // A file at a room's door must not reach its neighbours by way of its parent.
        let is_door = path.parent() == Some(&root().join("src"))
            || path.file_name().is_some_and(|name| name == "mod.rs")
                && path.ancestors().nth(2) == Some(&root().join("src"));
        if is_door {
            for other in seen(&code, "super::") {
                let own = other == "*" || other.chars().next().is_some_and(char::is_uppercase);
                assert!(own || other == room, "{}: super::{other}", path.display());
            }
        }
        assert!(!code.contains("super::super"), "{}", path.display());
        rooms.insert(room);
    }
    // Nothing was missed, and no floor is made up.
    for room in FLOORS.iter().copied().flatten().chain(&["data", "lib"]) {
        assert!(rooms.contains(*room), "{room} is nowhere");
    }
}

/// The seam does not know its devices: the CPU's files are seen by the kernels and by the device that hands calls on.
#[test]
fn contracts_name_no_device() {
    let backend = root().join("src/backend");
    for path in sources(&backend) {
        let inside = path.strip_prefix(&backend).unwrap();
        let of_a_device = inside.starts_with("cpu")
            || inside.starts_with("device")
            || inside.file_name().is_some_and(|name| name == "cpu.rs");
        let code = code(&std::fs::read_to_string(&path).unwrap());
        for names in ["backend::cpu", "super::cpu", "backend::Cpu"] {
            assert!(
                of_a_device || !code.contains(names),
                "{}: {names}",
                path.display()
            );
        }
    }
}

#[test]
fn the_top_level_holds_what_it_should() {
    const ALLOWED: [&str; 13] = [
        "Cargo.toml",
        "Cargo.lock",
        "cbindgen.toml",
        "README.md",
        "LICENSE",
        "src",
        "include",
        "c_examples",
        "tests",
        "docs",
        // ignored by git
        "target",
        "checkpoints",
        "logs",
    ];
    let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap();
    for name in &ALLOWED[10..] {
        assert!(
            ignored.lines().any(|line| line == format!("/{name}")),
            "{name}"
        );
    }
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name.starts_with('.') || ALLOWED.contains(&name.as_str()),
            "{name}"
        );
    }
}

#[test]
fn unsafe_code_stands_in_the_backend_and_the_c_api_alone() {
    for path in sources(&root().join("src")) {
        let code = code(&std::fs::read_to_string(&path).unwrap());
        let uses = code.match_indices("unsafe").any(|(at, _)| {
            let word = word(&code[at..]);
            word == "unsafe" || (word == "unsafe_code" && code[..at].ends_with("allow("))
        });
        let allowed = ["backend", "capi"].contains(&room(&path).as_str());
        assert!(allowed || !uses, "{}", path.display());
    }
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(lib.contains("#![deny(unsafe_code)]"));
}

/// The readers above see what they are to see.
#[test]
fn the_readers_read() {
    let text = r##"
        use crate::{Error, gpt::{Gpt, store}, rng};
        // crate::metrics
        fn f(quote: char) -> crate::run::Run { g("crate::capi", '"', '\"', r#"crate::bin"#, "\"crate::data") }
        use not_crate::backend; $crate::samplers::S; use crate::posterior::*;
    "##;
    let code = code(text);
    let want = ["error", "gpt", "posterior", "rng", "run", "samplers"];
    assert!(
        seen(&code, "crate::").iter().eq(want),
        "{:?}",
        seen(&code, "crate::")
    );
    assert!(!may_see("gpt", "data") && !may_see("backend", "gpt") && !may_see("data", "backend"));
    assert!(!may_see("store", "metrics") && !may_see("samplers", "generate"));
    assert!(may_see("posterior", "data") && may_see("data", "rng") && may_see("run", "store"));
    assert!(!may_see("rng", "data") && may_see("capi", "baseline"));
}

//! What a program that is linked with the library may rely on, one thing a line: declarations, values, options, and what rows of reports are called.

use bnn::settings::TABLE;
use std::collections::BTreeSet;
use std::path::Path;

/// The numbers of the interface and its lines.
#[derive(Debug, PartialEq)]
pub struct Abi {
    pub number: u32,
    pub minor: u32,
    pub lines: BTreeSet<String>,
}

impl Abi {
    /// What the header, the table of settings and the sources say now.
    pub fn now(root: &Path) -> Self {
        let header = std::fs::read_to_string(root.join("include/bnn.h")).expect("include/bnn.h");
        let mut lines = declarations(&header);
        for row in TABLE
            .iter()
            .filter(|r| r.readers.iter().any(|r| r.is_object()))
        {
            for name in row.aliases.iter().chain([&row.name]) {
                lines.insert(format!("option {name}: {:?}", row.kind));
            }
            for word in row.words() {
                lines.insert(format!("option {} = {word}", row.name));
            }
        }
        for folder in ["src/inference", "src/capi", "src/metrics", "src/samplers"] {
            rows_of(&root.join(folder), &mut lines);
        }
        Self {
            number: bnn::capi::BNN_ABI,
            minor: bnn::capi::BNN_ABI_MINOR,
            lines,
        }
    }

    pub fn read(text: &str) -> Self {
        let mut all = text.lines();
        let mut number = |name: &str| {
            let line = all.next().and_then(|l| l.strip_prefix(name)).expect(name);
            line.trim().parse().expect("a number")
        };
        let (number, minor) = (number("BNN_ABI"), number("BNN_ABI_MINOR"));
        Self {
            number,
            minor,
            lines: all.map(str::to_owned).collect(),
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("BNN_ABI {}\nBNN_ABI_MINOR {}\n", self.number, self.minor);
        for line in &self.lines {
            text += line;
            text.push('\n');
        }
        text
    }

    /// Says which number must move from these to `now`, if one must that has not.
    pub fn must_move(&self, now: &Self) -> Option<String> {
        if now.number > self.number {
            return None;
        }
        if let Some(gone) = self.lines.difference(&now.lines).next() {
            return Some(format!("BNN_ABI must grow: gone or changed is `{gone}`"));
        }
        let new = now.lines.difference(&self.lines).next()?;
        (now.minor <= self.minor).then(|| format!("BNN_ABI_MINOR must grow: new is `{new}`"))
    }
}

/// Macros, types and functions of a header, each on one line.
fn declarations(header: &str) -> BTreeSet<String> {
    let (mut code, mut rest) = (String::new(), header);
    while let Some(at) = rest.find("/*") {
        code += &rest[..at];
        let comment = &rest[at..];
        rest = comment.find("*/").map_or("", |end| &comment[end + 2..]);
    }
    code += rest;
    let is_guard = |l: &&str| l.contains("BNN_H") || l.contains("__cplusplus");
    let (macros, other): (Vec<&str>, Vec<&str>) = code.lines().partition(|l| l.starts_with('#'));
    let numbers = ["#define BNN_ABI", "#define BNN_VERSION"];
    let macros = macros.into_iter().filter(|l| l.starts_with("#define"));
    let macros = macros.filter(|l| !is_guard(l) && !numbers.iter().any(|n| l.starts_with(n)));
    let mut lines: BTreeSet<String> = macros.map(str::to_owned).collect();
    let (mut part, mut depth) = (String::new(), 0);
    // The braces of C++ hold all functions.
    let is_border = |l: &&str| l.contains("extern \"C\"");
    let other: Vec<&str> = other.into_iter().filter(|l| !is_border(l)).collect();
    for c in other.join("\n").chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c != ';' || depth > 0 {
            part.push(c);
            continue;
        }
        let words: Vec<&str> = part.split_whitespace().collect();
        let line = words.join(" ").replace("( ", "(");
        lines.insert(line);
        part.clear();
    }
    lines
}

/// Names that rows of reports are made with.
fn rows_of(folder: &Path, lines: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rows_of(&path, lines);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        for call in [".row(", ".group("] {
            for after in text.split(call).skip(1) {
                if let Some(name) = after.trim_start().strip_prefix('"') {
                    let name = name.split('"').next().unwrap_or_default();
                    lines.insert(format!("row {name}"));
                }
            }
        }
    }
}

//! A disk that loses power: which files there are afterwards, of all that a file system may leave of the calls that were made.
//!
//! What a crash may leave follows POSIX: the contents of a file up to its last fsync are there, and so are the names in a folder up to
//! its last fsync. Of what came later, anything may be there: each write whole, torn, as zeros or not at all, each name or not, in any
//! order; a rename is there or not, never half. Every choice follows from a seed.

use bnn::disk::{Access, Watch};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Returns a number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

#[derive(Clone, Debug)]
enum DataChange {
    Write(u64, Vec<u8>),
    Cut(u64),
}

/// A file, whatever its names: what is durable, and what was done since.
#[derive(Clone, Debug, Default)]
struct Node {
    durable: Vec<u8>,
    pending: Vec<DataChange>,
}

fn apply(content: &mut Vec<u8>, change: &DataChange) {
    match change {
        DataChange::Write(at, bytes) => {
            let (at, end) = (*at as usize, *at as usize + bytes.len());
            content.resize(content.len().max(end), 0);
            content[at..end].copy_from_slice(bytes);
        }
        DataChange::Cut(len) => content.truncate(*len as usize),
    }
}

/// What a name is of: a folder or a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Named {
    Folder,
    File(usize),
}

/// Names that change together.
#[derive(Clone, Debug)]
struct NameChange(Vec<(PathBuf, Option<Named>)>);

impl NameChange {
    fn is_in(&self, folder: &Path) -> bool {
        self.0.iter().any(|(path, _)| path.parent() == Some(folder))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Named>) {
        for (path, named) in &self.0 {
            match named {
                Some(named) => names.insert(path.clone(), *named),
                None => names.remove(path),
            };
        }
    }
}

/// A folder's files and folders, as they are and as a crash may leave them; it watches what is done below its root.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    now: BTreeMap<PathBuf, Named>,
    durable: BTreeMap<PathBuf, Named>,
    pending: Vec<NameChange>,
    /// Calls that changed something.
    pub changes: usize,
    /// The power fails before that change: neither it nor any later call is made.
    pub dies_at: usize,
}

impl Disk {
    /// Takes a folder as it is, all of it durable.
    pub fn of(root: &Path, dies_at: usize) -> Self {
        let mut disk = Self {
            root: root.to_path_buf(),
            nodes: Vec::new(),
            now: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            changes: 0,
            dies_at,
        };
        disk.take(root);
        disk.durable = disk.now.clone();
        disk
    }

    fn take(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.now.insert(path.clone(), Named::Folder);
                self.take(&path);
            } else {
                let node = Node {
                    durable: std::fs::read(&path).unwrap(),
                    pending: Vec::new(),
                };
                self.now.insert(path, Named::File(self.nodes.len()));
                self.nodes.push(node);
            }
        }
    }

    fn node(&mut self, path: &Path) -> &mut Node {
        match self.now.get(path) {
            Some(Named::File(n)) => &mut self.nodes[*n],
            other => panic!("{}: expected a file, found {other:?}", path.display()),
        }
    }

    fn name(&mut self, change: Vec<(PathBuf, Option<Named>)>) {
        let change = NameChange(change);
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    fn change(&mut self, access: &Access<'_>) {
        match *access {
            Access::MakeFolder(path) if !self.now.contains_key(path) => {
                self.name(vec![(path.into(), Some(Named::Folder))]);
            }
            Access::Create(path) if !self.now.contains_key(path) => {
                let named = Named::File(self.nodes.len());
                self.nodes.push(Node::default());
                self.name(vec![(path.into(), Some(named))]);
            }
            Access::Write { path, at, bytes } => {
                let change = DataChange::Write(at, bytes.to_vec());
                self.node(path).pending.push(change);
            }
            Access::Cut { path, len } => self.node(path).pending.push(DataChange::Cut(len)),
            Access::Sync(path) => {
                let node = self.node(path);
                let mut content = std::mem::take(&mut node.durable);
                node.pending.drain(..).for_each(|c| apply(&mut content, &c));
                node.durable = content;
            }
            Access::Rename { from, to } => {
                let named = self.now.get(from).copied();
                self.name(vec![(from.into(), None), (to.into(), named)]);
            }
            Access::Link { from, to } if !self.now.contains_key(to) => {
                let named = self.now.get(from).copied();
                self.name(vec![(to.into(), named)]);
            }
            Access::Remove(path) if self.now.contains_key(path) => {
                self.name(vec![(path.into(), None)]);
            }
            Access::SyncFolder(folder) => {
                let (synced, rest): (Vec<_>, Vec<_>) =
                    (self.pending.drain(..)).partition(|change| change.is_in(folder));
                synced.iter().for_each(|c| c.apply(&mut self.durable));
                self.pending = rest;
            }
            _ => {}
        }
    }

    /// Returns the content that a crash leaves of a file.
    fn content(node: &Node, kept: Kept, random: &mut Random) -> Vec<u8> {
        let mut content = node.durable.clone();
        for change in &node.pending {
            let change = match (kept, change) {
                (Kept::Nothing, _) => continue,
                (Kept::All, change) => change.clone(),
                (Kept::Some, DataChange::Cut(len)) => DataChange::Cut(*len),
                (Kept::Some, DataChange::Write(at, bytes)) => match random.below(4) {
                    0 => continue,
                    1 => DataChange::Write(*at, vec![0; bytes.len()]),
                    2 => DataChange::Write(*at, bytes[..random.below(bytes.len())].to_vec()),
                    _ => change.clone(),
                },
            };
            apply(&mut content, &change);
        }
        content
    }

    /// Puts what a crash may leave where the files were.
    pub fn crash(&self, random: &mut Random) {
        let kept = [Kept::Nothing, Kept::All, Kept::Some, Kept::Some][random.below(4)];
        let in_order = random.chance(2);
        let mut names = self.durable.clone();
        for change in &self.pending {
            let stays = match kept {
                Kept::Nothing => break,
                Kept::All => true,
                Kept::Some => !random.chance(3),
            };
            match (stays, in_order) {
                (true, _) => change.apply(&mut names),
                (false, true) => break,
                (false, false) => {}
            }
        }
        for entry in std::fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(path).unwrap(),
                false => std::fs::remove_file(path).unwrap(),
            }
        }
        // Folders come before what is in them; what is in a folder that is not there is not there.
        for (path, named) in &names {
            if !path.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match named {
                Named::Folder => std::fs::create_dir(path).unwrap(),
                Named::File(n) => {
                    let content = Self::content(&self.nodes[*n], kept, random);
                    std::fs::write(path, content).unwrap();
                }
            }
        }
    }
}

/// What a crash leaves of what was not durable.
#[derive(Clone, Copy)]
enum Kept {
    Nothing,
    All,
    Some,
}

impl Watch for Disk {
    fn before(&mut self, access: &Access<'_>) -> io::Result<()> {
        if self.changes >= self.dies_at {
            return Err(io::Error::other("the power has failed"));
        }
        let path = match *access {
            Access::Look(_) | Access::List(_) | Access::Open(_) | Access::Read(_) => return Ok(()),
            Access::MakeFolder(path)
            | Access::Create(path)
            | Access::Write { path, .. }
            | Access::Cut { path, .. }
            | Access::Sync(path)
            | Access::Rename { to: path, .. }
            | Access::Link { to: path, .. }
            | Access::Remove(path)
            | Access::SyncFolder(path) => path,
            ref other => panic!("a call that is not simulated: {other:?}"),
        };
        if path.starts_with(&self.root) {
            self.changes += 1;
            if self.changes >= self.dies_at {
                return Err(io::Error::other("the power has failed"));
            }
            self.change(access);
        }
        Ok(())
    }
}

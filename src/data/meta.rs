//! nanoGPT's `meta.pkl`, the character table: a reader for the few pickle opcodes that such a file is made of.
//!
//! A pickle is a program for a stack machine that can call any Python function. The one that `prepare.py` writes only
//! builds dictionaries of numbers and strings, and nothing else is understood here. Items are copies of small numbers,
//! borrowed strings and indices of dictionaries, so no file can make the reader recurse, clone or allocate more than a
//! constant times the file's own length.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::file::read;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// Reads `stoi`, `itos` and `vocab_size`, and checks that they agree.
pub(super) fn read_meta(path: &Path) -> Result<Tokenizer> {
    let bytes = read(path)?;
    let place = path.display().to_string();
    let wrong = |message: String| Error::data(place.clone(), message);

    let pickle = Pickle::parse(&bytes)
        .map_err(|(at, message)| Error::data(format!("{place}: byte {at}"), message))?;
    let entries = |key: &str| match pickle.get(key) {
        Some(Item::Dict(d)) => Ok(&pickle.dicts[d]),
        Some(other) => Err(wrong(format!(
            "expected a dictionary under {key:?}, found {other:?}"
        ))),
        None => Err(wrong(format!("the key {key:?} is missing"))),
    };
    // A key that is set twice keeps its last value, as in Python.
    let mut itos = BTreeMap::new();
    for &entry in entries("itos")? {
        match entry {
            (Item::Int(id), Item::Text(s)) => itos.insert(id, one_char(s).map_err(wrong)?),
            (k, v) => {
                return Err(wrong(format!(
                    "itos: expected number to character, found {k:?} to {v:?}"
                )));
            }
        };
    }
    let mut stoi = BTreeMap::new();
    for &entry in entries("stoi")? {
        match entry {
            (Item::Text(s), Item::Int(id)) => stoi.insert(one_char(s).map_err(wrong)?, id),
            (k, v) => {
                return Err(wrong(format!(
                    "stoi: expected character to number, found {k:?} to {v:?}"
                )));
            }
        };
    }
    match pickle.get("vocab_size") {
        Some(Item::Int(v)) if usize::try_from(v) == Ok(itos.len()) && itos.len() == stoi.len() => {}
        Some(Item::Int(v)) => {
            return Err(wrong(format!(
                "vocab_size is {v}, but itos has {} entries and stoi {}",
                itos.len(),
                stoi.len()
            )));
        }
        Some(other) => {
            return Err(wrong(format!(
                "expected a number under \"vocab_size\", found {other:?}"
            )));
        }
        None => return Err(wrong("the key \"vocab_size\" is missing".into())),
    }
    for (expected, (&id, c)) in itos.iter().enumerate() {
        if id != expected as i64 {
            return Err(wrong(format!(
                "itos: expected the id {expected}, found {id}"
            )));
        }
        if stoi.get(c) != Some(&id) {
            return Err(wrong(format!(
                "itos gives {id} for {c:?}, stoi gives {:?}",
                stoi.get(c)
            )));
        }
    }
    Tokenizer::from_chars(itos.into_values())
}

fn one_char(s: &str) -> std::result::Result<char, String> {
    let mut chars = s.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(format!(
            "expected one character, found {} bytes of text",
            s.len()
        )),
    }
}

#[derive(Clone, Copy, Debug)]
enum Item<'a> {
    Int(i64),
    Text(&'a str),
    Dict(usize),
    Mark,
}

/// Where in the file, and what is wrong there.
type Fault = (usize, String);

#[derive(Default)]
struct Pickle<'a> {
    dicts: Vec<Vec<(Item<'a>, Item<'a>)>>,
    root: usize,
}

impl<'a> Pickle<'a> {
    fn parse(bytes: &'a [u8]) -> std::result::Result<Self, Fault> {
        let mut pickle = Self::default();
        let mut stack: Vec<Item> = Vec::new();
        let mut memo: HashMap<u32, Item> = HashMap::new();
        let mut rest = Bytes { all: bytes, at: 0 };
        loop {
            let at = rest.at;
            let fault = |message: &str| (at, message.to_string());
            let op = rest.take(1)?[0];
            match op {
                // PROTO and FRAME say nothing that is needed.
                0x80 => drop(rest.take(1)?),
                0x95 => drop(rest.take(8)?),
                // EMPTY_DICT, MARK
                b'}' => {
                    stack.push(Item::Dict(pickle.dicts.len()));
                    pickle.dicts.push(Vec::new());
                }
                b'(' => stack.push(Item::Mark),
                // BININT1, BININT2, BININT
                b'K' => stack.push(Item::Int(rest.uint(1)?.into())),
                b'M' => stack.push(Item::Int(rest.uint(2)?.into())),
                b'J' => stack.push(Item::Int((rest.uint(4)? as i32).into())),
                // SHORT_BINUNICODE, BINUNICODE
                0x8c | b'X' => {
                    let len = rest.uint(if op == b'X' { 4 } else { 1 })?;
                    let text = std::str::from_utf8(rest.take(len as usize)?);
                    stack.push(Item::Text(text.map_err(|_| fault("expected UTF-8 text"))?));
                }
                // MEMOIZE, BINPUT, LONG_BINPUT
                0x94 | b'q' | b'r' => {
                    let key = match op {
                        0x94 => memo.len() as u32,
                        b'q' => rest.uint(1)?,
                        _ => rest.uint(4)?,
                    };
                    memo.insert(
                        key,
                        *stack.last().ok_or_else(|| fault("nothing to memoize"))?,
                    );
                }
                // BINGET, LONG_BINGET
                b'h' | b'j' => {
                    let key = rest.uint(if op == b'h' { 1 } else { 4 })?;
                    stack.push(*memo.get(&key).ok_or_else(|| fault("no such memo"))?);
                }
                // SETITEM, SETITEMS
                b's' | b'u' => {
                    let first = match op {
                        b's' => stack.len().checked_sub(2),
                        _ => stack
                            .iter()
                            .rposition(|item| matches!(item, Item::Mark))
                            .map(|mark| mark + 1),
                    };
                    let items = stack.split_off(first.ok_or_else(|| fault("nothing to set"))?);
                    if op == b'u' {
                        stack.pop();
                    }
                    let Some(&Item::Dict(d)) = stack.last() else {
                        return Err(fault("expected a dictionary to set items of"));
                    };
                    if !items.len().is_multiple_of(2) {
                        return Err(fault("a key has no value"));
                    }
                    pickle.dicts[d].extend(items.chunks_exact(2).map(|kv| (kv[0], kv[1])));
                }
                b'.' => break,
                _ => {
                    let expected =
                        "expected a dictionary of numbers and strings as nanoGPT pickles it";
                    return Err((at, format!("{expected}, found opcode {op:#04x}")));
                }
            }
        }
        match stack[..] {
            [Item::Dict(root)] if rest.at == bytes.len() => Ok(Self { root, ..pickle }),
            _ => Err((
                rest.at,
                "expected the file to end with one dictionary".to_string(),
            )),
        }
    }

    fn get(&self, key: &str) -> Option<Item<'a>> {
        let mut found = None;
        for &(k, v) in &self.dicts[self.root] {
            if matches!(k, Item::Text(text) if text == key) {
                found = Some(v);
            }
        }
        found
    }
}

struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> std::result::Result<&'a [u8], Fault> {
        let rest = &self.all[self.at..];
        let taken = rest.get(..len).ok_or_else(|| {
            (
                self.at,
                format!("expected {len} more bytes, found {}", rest.len()),
            )
        })?;
        self.at += len;
        Ok(taken)
    }

    /// Reads an unsigned little-endian number of at most four bytes.
    fn uint(&mut self, len: usize) -> std::result::Result<u32, Fault> {
        Ok(self
            .take(len)?
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u32::from(byte)))
    }
}

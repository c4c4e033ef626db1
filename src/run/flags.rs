//! Flags made from the table of settings, and the settings that came by them.

use crate::error::{Error, Result};
use crate::gpt::{GptConfig, NAMED};
use crate::settings::{Case, Given, Kind, Preset, Reader, Row, TABLE, Value, default_text};
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::path::Path;

/// Adds the flags of what a command reads. With `all` they stand under their headings; without it in one list, of which the short help shows the common
/// ones.
///
/// A command that takes or makes a run's settings knows the others too, without showing them: it says why it does not take them, or lets them pass.
pub fn add(command: Command, reader: Reader, all: bool) -> Command {
    let of_runs = matches!(reader, Reader::Train | Reader::Baseline | Reader::Eval);
    let known = |row: &&Row| row.is_read_by(reader) || (of_runs && row.is_recorded());
    let args = TABLE.iter().filter(known);
    command.args(args.map(|row| {
        let arg = arg(row, reader).hide(!row.is_read_by(reader));
        match all {
            true => arg.help_heading(row.group.title()),
            false => arg.help(brief(row, reader)),
        }
    }))
}

/// Returns the short help: a few words, and the default where there is one.
fn brief(row: &Row, reader: Reader) -> String {
    let words = row.brief.unwrap_or(row.help.trim());
    match row.default(&Case::usual()) {
        Some(default) if reader != Reader::Eval => format!("{words} [{default}]"),
        _ => words.into(),
    }
}

fn arg(row: &'static Row, reader: Reader) -> Arg {
    let default = match (reader, default_text(row, Preset::Default)) {
        (Reader::Eval, _) => "; default: the run's".into(),
        (_, none) if none == "unset" => String::new(),
        (_, default) => format!("; default: {default}"),
    };
    let help = format!("{} [{}{default}]", row.help.trim(), row.expected());
    let dashed = |name: &&'static str| name.replace('_', "-");
    let arg = Arg::new(row.name)
        .long(row.flag())
        .visible_aliases(row.aliases.iter().map(dashed))
        .hide_short_help(row.brief.is_none())
        .value_parser(ValueParser::from(move |text: &str| row.parse(text)))
        .help(help);
    match row.kind {
        Kind::Bool => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL"),
        Kind::List => arg
            .num_args(1..)
            .value_delimiter(',')
            .action(ArgAction::Append)
            .value_name("WORDS"),
        Kind::U64 => arg.value_name("N"),
        Kind::F64 => arg.value_name("X"),
        Kind::Text => arg.value_name("WORD"),
        Kind::Path => arg.value_name("PATH"),
    }
}

/// Returns the settings that were given as flags.
///
/// # Errors
/// When a value is out of range.
pub fn given(matches: &ArgMatches) -> Result<Given> {
    let mut given = Given::default();
    for row in TABLE {
        let Ok(Some(values)) = matches.try_get_many::<Value>(row.name) else {
            continue;
        };
        let mut list = Vec::new();
        for value in values {
            match value {
                Value::List(words) => list.extend_from_slice(words),
                value => row.set(&mut given, value)?,
            }
        }
        if !list.is_empty() {
            row.set(&mut given, &Value::List(list))?;
        }
    }
    Ok(given)
}

/// Checks that a baseline's file has the shape that the settings ask for.
///
/// # Errors
/// [`Error::Conflict`] with the flags that ask for the file's shape.
pub(super) fn check_shape(path: &Path, is: &GptConfig, asked: &GptConfig) -> Result<()> {
    let of_same_text = GptConfig {
        vocab_size: asked.vocab_size,
        ..is.clone()
    };
    if of_same_text == *asked {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "{}: the baseline has another shape than these settings ask for: give {}",
        path.display(),
        shape_flags(is)
    )))
}

/// Returns the flags that ask for a shape: a name where one is near, and what differs from it.
fn shape_flags(c: &GptConfig) -> String {
    let named = NAMED
        .iter()
        .filter_map(|n| Some((n.0, GptConfig::named(n.0, c.vocab_size).ok()?)));
    let each = named.map(|(name, n)| {
        let mut flags = vec![format!("--shape {name}")];
        let mut add = |differs: bool, flag: String| differs.then(|| flags.push(flag));
        add(n.n_layer != c.n_layer, format!("--n-layer {}", c.n_layer));
        add(n.n_head != c.n_head, format!("--n-head {}", c.n_head));
        add(n.n_embd != c.n_embd, format!("--n-embd {}", c.n_embd));
        add(
            n.block_size != c.block_size,
            format!("--block-size {}", c.block_size),
        );
        add(n.bias != c.bias, format!("--bias={}", c.bias));
        add(n.dropout != c.dropout, format!("--dropout {}", c.dropout));
        let gelu = serde_json::to_value(c.gelu).unwrap_or_default();
        let gelu = gelu.as_str().unwrap_or_default();
        add(n.gelu != c.gelu, format!("--gelu {gelu}"));
        add(
            n.tie_weights != c.tie_weights,
            format!("--tie-weights={}", c.tie_weights),
        );
        flags
    });
    let fewest = each.min_by_key(Vec::len).unwrap_or_default();
    fewest.join(" ")
}

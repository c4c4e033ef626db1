//! The command line: subcommands with their own flags, and the flags of the settings that each of them reads.

use super::config;
use super::environment::ENVIRONMENT;
use super::{bench, flags};
use crate::error::Result;
use crate::settings::{Given, Reader};
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;

/// What `--version` adds to the number.
const BUILD: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ntarget ",
    env!("BNN_TARGET"),
    ", profile ",
    env!("BNN_PROFILE"),
    ", ",
    env!("BNN_RUSTC"),
);

/// What the help ends with.
const EXAMPLES: &str = "\
Examples:
  bnn train --eval                                  the whole job on a small embedded play
  bnn train --data FILE.txt --chains 4 --eval       your own text, four chains
  bnn diagnose RUN                                  do the chains agree?
  bnn generate RUN --prompt \"Once\"                 text, with each token's uncertainty
Exit codes: 0 done, 1 an error, 2 a wrong flag or setting, 3 a check of --strict failed, 128 and the number of a signal.";

const TRAIN_EXAMPLES: &str = "\
Example:
  bnn train --data FILE.txt --shape baby --sampler sghmc --chains 4 --eval
Every flag, with its range and its defaults: bnn train --help-all";

/// Trains a GPT, samples models around it, and says what their average is worth.
#[derive(Parser)]
#[command(name = "bnn", version, long_version = BUILD, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say nothing but warnings, errors and the result; logs get everything.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Sample models around a baseline by a Markov chain, and score their average.
    #[command(args_override_self = true, allow_negative_numbers = true, after_help = TRAIN_EXAMPLES, after_long_help = ENVIRONMENT)]
    Train(Train),
    /// Train the deterministic model alone and keep it.
    #[command(args_override_self = true, allow_negative_numbers = true)]
    Baseline(Configured),
    /// Score a run's samples again: their average, the baseline, a model of equal cost, texts.
    #[command(args_override_self = true, allow_negative_numbers = true)]
    Eval(Eval),
    /// Say whether the chains of runs agree, and what their draws are worth.
    Diagnose(Diagnose),
    /// Check that a run's files are whole and complete; --repair mends what can be mended.
    Check(Check),
    /// Write text from a run's samples, with each token's uncertainty.
    #[command(args_override_self = true, allow_negative_numbers = true)]
    Generate(Generate),
    /// Print every setting of a run with its value as TOML that --config reads.
    #[command(args_override_self = true, allow_negative_numbers = true)]
    Config(Configured),
    /// Check this build on this machine against reference files.
    Verify(Verify),
    /// Measure this machine: gradients, updates and generation, one row per piece of work.
    #[command(args_override_self = true)]
    Bench(Bench),
    /// Print a script that completes this command's words in a shell.
    Completions(Completions),
    /// Print the manual page of this command, or of one of its subcommands.
    Man(Man),
}

/// What the flags of settings are added to.
#[derive(Args)]
pub struct Configured {
    /// Settings from a TOML file; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the result as one JSON object; everything else goes to standard error.
    #[arg(long)]
    pub json: bool,
}

impl Configured {
    /// Returns what `--config` gives.
    ///
    /// # Errors
    /// Those of [`config::from_toml`].
    pub fn file(&self) -> Result<Given> {
        match &self.config {
            Some(path) => config::from_toml(path),
            None => Ok(Given::default()),
        }
    }
}

/// `bnn train`.
#[derive(Args)]
pub struct Train {
    /// Settings and form of the result.
    #[command(flatten)]
    pub with: Configured,
    /// Go on with a run that was stopped, or make it longer with --sampling-steps or --epochs.
    #[arg(
        long,
        value_name = "RUN",
        long_help = "Go on with a run that was stopped, or make it longer with --sampling-steps or --epochs; --threads, --log-dir and the flags under Evaluation may be given anew, too."
    )]
    pub resume: Option<PathBuf>,
    /// With --resume: chains whose checkpoint or samples are missing begin anew. The samples that are there stay, and each is compared with the one
    /// that is drawn.
    #[arg(long, requires = "resume", hide_short_help = true)]
    pub restart_chain: bool,
    /// Give a first answer in about a minute: few steps of a chain, scored on the validation split. Fits still pass over the data once. Other flags win
    /// over it.
    #[arg(long, conflicts_with = "resume")]
    pub quick: bool,
    /// Exit with 3 unless R-hat, effective sizes and temperatures of every chain pass.
    #[arg(long)]
    pub strict: bool,
    /// Accepted for the original's sake: nothing is sent anywhere.
    #[arg(long, hide_short_help = true)]
    pub no_wandb: bool,
}

/// `bnn eval`.
#[derive(Args)]
pub struct Eval {
    /// The run's folder.
    pub run: PathBuf,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `bnn diagnose`.
#[derive(Args)]
pub struct Diagnose {
    /// Folders of runs of one model, text and target, done or not.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// List this many quantities, those with the largest R-hat first; 0 lists none.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub rows: usize,
    /// Write a row per quantity to FILE as comma-separated values, too.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the draws to a NetCDF file that `arviz.from_netcdf` opens, too.
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Exit with 3 unless R-hat, effective sizes and temperatures of every chain pass.
    #[arg(long)]
    pub strict: bool,
    /// Print the result as one JSON object, every quantity's own numbers among it.
    #[arg(long)]
    pub json: bool,
}

/// `bnn check`.
#[derive(Args)]
pub struct Check {
    /// The run's folder.
    pub run: PathBuf,
    /// Move damaged files to the run's folder `damaged`, go back to the checkpoint before a damaged one or one whose trace is not whole, give up the
    /// samples that are missing, and take away what killed processes left behind.
    #[arg(long)]
    pub repair: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `bnn generate`.
#[derive(Args)]
pub struct Generate {
    /// The run's folder.
    pub run: PathBuf,
    /// Text to go on from; may be given several times.
    #[arg(long, default_value = "\n")]
    pub prompt: Vec<String>,
    /// Number of samples that write, spread evenly over chains and steps; 0 takes all.
    #[arg(long, default_value_t = 10)]
    pub samples: usize,
    /// Number of texts after each prompt.
    #[arg(long, default_value_t = 1)]
    pub texts: u64,
    /// Generate from the baseline only, without averaging.
    #[arg(long)]
    pub baseline: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `bnn bench`.
#[derive(Args)]
pub struct Bench {
    /// Named shapes.
    #[arg(long, value_delimiter = ',', default_value = "cpu,baby")]
    pub shapes: Vec<String>,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_values_t = bench::WORK.iter().map(|w| w.to_string()))]
    pub only: Vec<String>,
    /// Seconds per row.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Print one JSON object per row.
    #[arg(long)]
    pub json: bool,
}

/// `bnn verify`.
#[derive(Args)]
pub struct Verify {
    /// Reference files: gpt_*.safetensors, samplers.safetensors, gaussians.safetensors, predictive.safetensors, chains.safetensors, text_scores.json or
    /// others of these formats. These lie in `tests/data` of the source, whose README.md says which program computed each.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Print the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `bnn completions`.
#[derive(Args)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `bnn man`.
#[derive(Args)]
pub struct Man {
    /// The subcommand; without it the page is that of `bnn` itself.
    pub subcommand: Option<String>,
}

/// Returns the command line with the flags of the settings that each command reads. With `all` the help has every flag under its heading; without it the
/// few that most people need, in one list.
pub fn command_line(all: bool) -> clap::Command {
    let readers = [
        ("train", Reader::Train),
        ("baseline", Reader::Baseline),
        ("eval", Reader::Eval),
        ("generate", Reader::Generate),
        ("config", Reader::Train),
        ("diagnose", Reader::Diagnose),
        ("verify", Reader::Verify),
        ("bench", Reader::Bench),
    ];
    let cli = Cli::command()
        .disable_help_flag(true)
        .arg(help())
        .subcommand_value_name("COMMAND");
    let cli = readers.into_iter().fold(cli, |cli, (name, reader)| {
        cli.mut_subcommand(name, |command| {
            flags::add(command, reader, all).arg(help_all())
        })
    });
    cli.mut_subcommands(|command| command.disable_help_flag(true).arg(help()))
}

/// The short help, by either name.
fn help() -> Arg {
    let arg = Arg::new("help").short('h').long("help");
    arg.action(ArgAction::HelpShort).help("Print help")
}

/// The help with every flag.
fn help_all() -> Arg {
    let arg = Arg::new("help-all").long("help-all");
    arg.action(ArgAction::HelpLong)
        .help("Print help on every flag, with ranges and defaults")
}

/// Returns what was asked for, and the settings that were given as flags.
///
/// # Errors
/// Those of clap, help and version among them.
pub fn parse() -> std::result::Result<(Cli, Result<Given>), clap::Error> {
    let all = std::env::args_os().any(|a| a == "--help-all" || a == "help");
    let matches = command_line(all).try_get_matches()?;
    let given = matches.subcommand().map(|(_, m)| flags::given(m));
    let given = given.unwrap_or_else(|| Ok(Given::default()));
    Ok((Cli::from_arg_matches(&matches)?, given))
}

/// Returns the script that completes the command's words in a shell.
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line(true), "bnn", &mut script);
    script
}

/// Returns a manual page, of `bnn` or of a subcommand, in roff.
///
/// # Errors
/// [`crate::error::Error::Unknown`] for a subcommand that does not exist.
pub fn manual(subcommand: Option<&str>) -> Result<Vec<u8>> {
    let mut cli = command_line(true);
    cli.build();
    let command = match subcommand {
        None => cli,
        Some(name) => {
            let names: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
            let unknown =
                || crate::error::Error::unknown("subcommand", name, names.iter().copied());
            cli.find_subcommand(name).ok_or_else(unknown)?.clone()
        }
    };
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(command).render(&mut page);
    written.map_err(crate::error::Error::io("the manual page"))?;
    Ok(page)
}

//! The command `bnn`: flags to library calls. Exit code 0, 1 on an error, 128 and the number of a signal that stopped it.

use bnn::backend::Device;
use bnn::error::{Error, Result};
use bnn::inference;
use bnn::run::config::{self, Config};
use bnn::run::environment::Environment;
use bnn::run::folder::RunFolder;
use bnn::run::prepare::Setting;
use bnn::run::progress::Log;
use bnn::run::recover::Broken;
use bnn::run::results::Place;
use bnn::run::stop::Stop;
use bnn::run::terminal::{self, Output, print};
use bnn::run::{
    Context, bench, check, diagnose, evaluate, export, flags, generate, hex, train, verify,
};
use bnn::settings::{Given, Reader, TargetKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bayesian inference for GPT language models, honest about what its samples are worth.
#[derive(Parser)]
#[command(name = "bnn", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sample a posterior around a baseline, which is trained first when there is none.
    #[command(args_override_self = true, allow_negative_numbers = true, after_long_help = bnn::run::environment::ENVIRONMENT)]
    Train(Train),
    /// Train the deterministic model alone and keep it.
    #[command(args_override_self = true, allow_negative_numbers = true)]
    Baseline(Configured),
    /// Score a run's samples: averaged prediction, baseline, a deterministic model of equal cost, texts.
    #[command(args_override_self = true, allow_negative_numbers = true)]
    Eval(Eval),
    /// Whether the chains of one or several runs agree on what they predict, and what their draws are worth.
    Diagnose(Diagnose),
    /// Check that a run's checkpoints and samples are whole and complete; --repair lets a damaged run go on.
    Check(Check),
    /// Write text from a run's samples, with each token's uncertainty.
    #[command(args_override_self = true, allow_negative_numbers = true)]
    Generate(Generate),
    /// Print every setting of a run with its value as TOML that --config reads.
    #[command(args_override_self = true, allow_negative_numbers = true)]
    Config(Configured),
    /// Check this build on this machine against reference files.
    Verify(Verify),
    /// Measure this machine: gradients, updates, generation; one row a piece of work.
    #[command(args_override_self = true)]
    Bench(Bench),
}

/// What the flags of settings are added to.
#[derive(Args)]
struct Configured {
    /// Settings from a TOML file; flags win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The result as one JSON object on standard output; everything else goes to standard error.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Train {
    #[command(flatten)]
    with: Configured,
    /// Go on with a run that was stopped, or make it longer with --sampling-steps or --epochs; --threads, --log-dir and the flags under Evaluation may be
    /// given anew, too.
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// With --resume: chains whose checkpoint or samples are missing begin anew. The samples that are there stay, and each is compared with the one
    /// that is drawn.
    #[arg(long, requires = "resume")]
    restart_chain: bool,
    /// Accepted for the original's sake: nothing is sent anywhere.
    #[arg(long)]
    no_wandb: bool,
}

#[derive(Args)]
struct Eval {
    /// The run's folder.
    run: PathBuf,
    /// The result as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Diagnose {
    /// Folders of runs of one model, text and target, done or not.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write the draws to a NetCDF file that `arviz.from_netcdf` opens, too.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// The result as one JSON object on standard output, every quantity's own numbers among it.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Check {
    /// The run's folder.
    run: PathBuf,
    /// Move damaged files to the run's folder `damaged`, go back to the checkpoint before a damaged one or one whose trace is not whole, give up the samples that are missing, and take
    /// away what killed processes left behind.
    #[arg(long)]
    repair: bool,
    /// The result as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Generate {
    /// The run's folder.
    run: PathBuf,
    /// Text to go on from; may be given several times.
    #[arg(long, default_value = "\n")]
    prompt: Vec<String>,
    /// Number of samples that write, spread evenly over chains and steps; 0 takes all.
    #[arg(long, default_value_t = 10)]
    samples: usize,
    /// Number of texts after each prompt.
    #[arg(long, default_value_t = 1)]
    texts: u64,
    /// Generate from the baseline only, without averaging.
    #[arg(long)]
    baseline: bool,
    /// The result as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Bench {
    /// Named shapes.
    #[arg(long, value_delimiter = ',', default_value = "cpu,baby")]
    shapes: Vec<String>,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_values_t = bench::WORK.iter().map(|w| w.to_string()))]
    only: Vec<String>,
    /// Seconds for each row.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// One JSON object a row on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Verify {
    /// Reference files: gpt_*.safetensors, samplers.safetensors, gaussians.safetensors, predictive.safetensors, chains.safetensors, text_scores.json or
    /// others of these formats. These lie in `tests/data` of the source, whose README.md says which program computed each.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The result as one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// The command line, with the flags of the settings that each command reads.
fn command_line() -> clap::Command {
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
    readers
        .into_iter()
        .fold(Cli::command(), |cli, (name, reader)| {
            cli.mut_subcommand(name, |command| flags::add(command, reader))
        })
}

/// What was asked for, and the settings that were given as flags.
fn parse() -> std::result::Result<(Cli, Result<Given>), clap::Error> {
    let matches = command_line().try_get_matches()?;
    let given = matches.subcommand().map(|(_, m)| flags::given(m));
    let given = given.unwrap_or_else(|| Ok(Given::default()));
    Ok((Cli::from_arg_matches(&matches)?, given))
}

fn main() -> ExitCode {
    let (cli, given) = match parse() {
        Ok(parsed) => parsed,
        Err(e) => {
            // Help and version are no errors; a bad flag is one like any other.
            let code = if e.use_stderr() { 1 } else { 0 };
            return match e.print() {
                Ok(()) => ExitCode::from(code),
                Err(said) if !e.use_stderr() && said.kind() == ErrorKind::BrokenPipe => {
                    terminal::end_by_broken_output()
                }
                Err(_) => ExitCode::from(1),
            };
        }
    };
    let stop = Stop::default();
    match given.and_then(|given| go(cli.command, given, &stop)) {
        Ok(code) => code,
        Err(Error::Interrupted) => ExitCode::from(stop.exit_code()),
        Err(e) if terminal::is_broken_output(&e) => terminal::end_by_broken_output(),
        Err(e) => {
            say(&format!("error: {e}"));
            ExitCode::from(1)
        }
    }
}

/// Lets a signal ask the work to stop at its next step, where it keeps what it has.
fn listening(stop: &Stop) -> Result<Context> {
    stop.listen()?;
    Ok(Context {
        log: Log::default(),
        stop: stop.clone(),
    })
}

fn go(command: Command, given: Given, stop: &Stop) -> Result<ExitCode> {
    // What leaves nothing half done ends at the first signal.
    let at_once = || stop.end_at_once();
    match command {
        Command::Train(a) => train_run(&a, given, listening(stop)?)?,
        Command::Baseline(a) => train_baseline(&a, given, listening(stop)?)?,
        Command::Eval(a) => return evaluate_run(&a, given, listening(stop)?),
        Command::Generate(a) => return generate_text(&a, given, listening(stop)?),
        Command::Diagnose(a) => at_once().and_then(|()| diagnose_runs(&a, given))?,
        Command::Check(a) => return at_once().and_then(|()| check_run(&a)),
        Command::Config(a) => at_once().and_then(|()| show_config(&a, given))?,
        Command::Verify(a) => return at_once().and_then(|()| verify_files(&a, given)),
        Command::Bench(a) => at_once().and_then(|()| measure(&a, given))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show_config(a: &Configured, given: Given) -> Result<()> {
    let config = resolve(a, given, &Environment::default())?;
    if a.json {
        print_json(&serde_json::to_value(&config).map_err(not_json)?)
    } else {
        print(&config.to_toml()?)
    }
}

fn train_run(a: &Train, given: Given, mut ctx: Context) -> Result<()> {
    // Nothing is sent anywhere, with or without the flag.
    let _ = a.no_wandb;
    let environment = Environment::with_file(&mut ctx.log)?;
    let report = match &a.resume {
        Some(run) => {
            environment.check_device()?;
            let (folder, config) = RunFolder::open(run)?;
            let config = config.overlaid(given.or(a.with.file()?), Reader::Resume)?;
            let broken = match a.restart_chain {
                true => Broken::Restart,
                false => Broken::Refuse,
            };
            train::resume(&config, folder, broken, &mut ctx)?
        }
        None => train::train(&resolve(&a.with, given, &environment)?, &mut ctx)?,
    };
    if a.with.json {
        return print_json(&serde_json::to_value(&report).map_err(not_json)?);
    }
    let (folder, _) = RunFolder::open(Path::new(&report.run_dir))?;
    let path = folder.summary();
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    print(&format!("{text}\nrun folder: {}\n", report.run_dir))
}

fn train_baseline(a: &Configured, given: Given, mut ctx: Context) -> Result<()> {
    let environment = Environment::with_file(&mut ctx.log)?;
    let config = resolve(a, given, &environment)?;
    RunFolder::check_place(&config.save_dir)?;
    let b = Setting::new(&config)?.baseline(&config, &mut ctx);
    let b = ctx.stopped_with(b, "the same command")?;
    match a.json {
        true => print_json(&json!({
            "val_loss": b.val_loss,
            "train_loss": b.train_loss,
            "seconds": b.seconds,
            "iters": b.iters,
            "path": b.path,
            "sha256": hex(&b.sha256),
            "cached": b.cached,
            "choice": b.json()["choice"],
        })),
        false => print(&format!(
            "validation loss {:.4}, training loss {:.4}, {:.1} s: {}\n",
            b.val_loss,
            b.train_loss,
            b.seconds,
            b.path.display()
        )),
    }
}

fn evaluate_run(a: &Eval, given: Given, mut ctx: Context) -> Result<ExitCode> {
    Environment::with_file(&mut ctx.log)?.check_device()?;
    let (folder, config) = RunFolder::open(&a.run)?;
    let config = config.overlaid(given, Reader::Eval)?;
    let (reports, record) = evaluate::eval_run(&folder, &config, &mut ctx)?;
    let place = Place::of_evaluation(&folder, config.output.as_deref());
    let mut out = Output::default();
    if a.json {
        out.print(&line(&json!({
            "run_dir": folder.path,
            "sampler_type": folder.sampler,
            "results": evaluate::by_split(&reports)?,
            "file": place.as_ref().ok().map(Place::path),
        })));
    } else {
        let mut texts = reports.iter().map(|r| r.text());
        texts
            .by_ref()
            .for_each(|text| out.print(&format!("{text}\n")));
    }
    finish(place, &record, out)
}

/// Stores a result that is printed already, and says where it is or why it is not; only then it counts what printing came to.
fn finish(place: Result<Place>, result: &Value, out: Output) -> Result<ExitCode> {
    let stored = place.and_then(|place| {
        let path = place.path().to_path_buf();
        place.write(result).map(|()| path)
    });
    let code = match stored {
        Ok(path) => {
            say(&format!("stored in {}", path.display()));
            ExitCode::SUCCESS
        }
        Err(e) => {
            say(&format!(
                "warning: the result could not be stored: {e}; --output FILE stores it elsewhere"
            ));
            ExitCode::from(1)
        }
    };
    out.finish().map(|()| code)
}

/// Checks a run; the exit code is 1 where something is damaged or missing.
fn check_run(a: &Check) -> Result<ExitCode> {
    let (folder, config) = RunFolder::open(&a.run)?;
    let found = if a.repair {
        check::repair(&folder, &config)?
    } else {
        check::check(&folder, &config)?
    };
    if a.json {
        print_json(&serde_json::to_value(&found).map_err(not_json)?)?;
    } else {
        print(&format!("{}\n", found.text()))?;
    }
    Ok(ExitCode::from(u8::from(!found.is_whole())))
}

fn diagnose_runs(a: &Diagnose, given: Given) -> Result<()> {
    let runs = a.runs.iter().map(|path| diagnose::open(path));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    let diagnosis = inference::diagnose(&Device::cpu(given.threads.unwrap_or(0))?, &runs)?;
    if let Some(path) = &a.export {
        export::netcdf(&runs, path)?;
    }
    if a.json {
        print_json(&serde_json::to_value(&diagnosis).map_err(not_json)?)
    } else {
        print(&diagnosis.text())
    }
}

fn generate_text(a: &Generate, given: Given, mut ctx: Context) -> Result<ExitCode> {
    let (folder, mut config) = RunFolder::open(&a.run)?;
    config.threads = given.threads.unwrap_or(config.threads);
    config.model_path = given.model_path.clone().or(config.model_path);
    let writing = given.defaulted(TargetKind::Gpt);
    let request = generate::Request {
        prompts: a.prompt.clone(),
        options: writing.generation()?,
        samples: a.samples,
        texts: a.texts,
        weights: writing.weights,
        baseline: a.baseline,
    };
    let mut out = Output::default();
    let show = |piece: &str| {
        if !a.json {
            out.print(piece);
        }
    };
    let result = generate::generate(&folder, &config, &request, &mut ctx, show)?;
    let place = Place::of_text(&folder, writing.output.as_deref());
    if a.json {
        let mut printed = result.clone();
        printed["id"] = place.as_ref().ok().map(Place::id).into();
        printed["file"] = json!(place.as_ref().ok().map(Place::path));
        out.print(&line(&printed));
    } else {
        generate::uncertainty_lines(&result)
            .iter()
            .for_each(|l| say(l));
    }
    finish(place, &result, out)
}

fn measure(a: &Bench, given: Given) -> Result<()> {
    let request = bench::Request {
        shapes: a.shapes.clone(),
        only: a.only.clone(),
        threads: given.threads.unwrap_or(0),
        seconds: a.seconds,
    };
    bench::bench(&request, |row| {
        if a.json {
            return print_json(&serde_json::to_value(row).map_err(not_json)?);
        }
        let more: Vec<String> = row.more.iter().map(|(k, v)| format!("{k} {v}")).collect();
        print(&format!(
            "{:<30} {:<14} {:>11.3} ms  {} ({} runs)\n",
            row.what,
            row.shape,
            row.ms,
            more.join(", "),
            row.runs,
        ))
    })
}

fn verify_files(a: &Verify, given: Given) -> Result<ExitCode> {
    let backend = Device::cpu(given.threads.unwrap_or(0))?
        .with_precision(given.precision.unwrap_or_default());
    let mut checks = Vec::new();
    for file in &a.files {
        checks.extend(verify::verify_file(&backend, file)?);
    }
    let failed = checks.iter().filter(|c| !c.pass).count();
    if a.json {
        print_json(&json!({
            "device": format!("{backend:?}"),
            "checks": checks,
            "passed": checks.len() - failed,
            "failed": failed,
        }))?
    } else {
        for c in &checks {
            print(&format!(
                "{}  {:<52} {:.2e} of {:.0e}  {}\n",
                if c.pass { "pass" } else { "FAIL" },
                c.quantity,
                c.error,
                c.tolerance,
                c.file,
            ))?;
        }
        print(&format!(
            "{} passed, {failed} failed on {backend:?}\n",
            checks.len() - failed
        ))?;
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Flags over `--config` over the environment over the preset.
fn resolve(a: &Configured, given: Given, environment: &Environment) -> Result<Config> {
    let given = given.or(a.file()?);
    let environment = environment.given(&given)?;
    given.or(environment).resolve()
}

impl Configured {
    /// Returns what `--config` gives.
    fn file(&self) -> Result<Given> {
        match &self.config {
            Some(path) => config::from_toml(path),
            None => Ok(Given::default()),
        }
    }
}

fn not_json(e: serde_json::Error) -> Error {
    Error::out_of_range("result", "JSON", e)
}

/// Returns JSON as a line.
fn line(v: &Value) -> String {
    format!("{v}\n")
}

fn print_json(v: &Value) -> Result<()> {
    print(&line(v))
}

/// Says a line to whoever reads standard error; when nobody does, there is nobody to tell.
fn say(line: &str) {
    let _ = terminal::say(line);
}

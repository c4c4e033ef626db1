//! The command `bnn`: flags to library calls. Exit code 0; 1 on an error; 2 on a wrong flag or setting; 3 where a check of `--strict` fails; 128 and
//! the number of a signal that stopped it.

use bnn::backend::Device;
use bnn::error::{Error, Result};
use bnn::inference::{self, Verdict};
use bnn::run::command_line::{
    Bench, Check, Cli, Command, Configured, Diagnose, Eval, Generate, Train, Verify, completions,
    manual, parse,
};
use bnn::run::config::Config;
use bnn::run::environment::Environment;
use bnn::run::folder::RunFolder;
use bnn::run::prepare::Setting;
use bnn::run::progress::Log;
use bnn::run::quantities::Quantities;
use bnn::run::recover::Broken;
use bnn::run::results::Place;
use bnn::run::stop::Stop;
use bnn::run::terminal::{self, Output, print};
use bnn::run::{Context, bench, check, diagnose, evaluate, export, generate, hex, train, verify};
use bnn::settings::{Given, Reader, TargetKind};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::process::ExitCode;

/// The exit code where a check of `--strict` fails.
const NOT_STRICT: u8 = 3;

/// An error with the exit code that it ends the command with.
struct Failure {
    error: Error,
    code: u8,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, code: 1 }
    }
}

/// A flag or a setting that cannot be, alone or beside others.
fn wrong_setting(error: Error) -> Failure {
    Failure { error, code: 2 }
}

type Done<T> = std::result::Result<T, Failure>;

fn main() -> ExitCode {
    let (cli, given) = match parse() {
        Ok(parsed) => parsed,
        Err(e) => {
            // Help and version are no errors; a wrong flag has a code of its own.
            let code = if e.use_stderr() { 2 } else { 0 };
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
    let done = given
        .map_err(wrong_setting)
        .and_then(|given| go(cli, given, &stop));
    match done {
        Ok(code) => code,
        Err(Failure { error, code }) => match error {
            Error::Interrupted => ExitCode::from(stop.exit_code()),
            e if terminal::is_broken_output(&e) => terminal::end_by_broken_output(),
            e => {
                say(&format!("error: {e}"));
                ExitCode::from(code)
            }
        },
    }
}

/// Lets a signal ask the work to stop at its next step, where it keeps what it has.
fn listening(stop: &Stop, quiet: bool) -> Result<Context> {
    stop.listen()?;
    Ok(Context {
        log: Log::new(quiet),
        stop: stop.clone(),
    })
}

fn go(cli: Cli, given: Given, stop: &Stop) -> Done<ExitCode> {
    // What leaves nothing half done ends at the first signal.
    let at_once = || stop.end_at_once();
    let quiet = cli.quiet;
    match cli.command {
        Command::Train(a) => return train_run(&a, given, listening(stop, quiet)?),
        Command::Baseline(a) => train_baseline(&a, given, listening(stop, quiet)?)?,
        Command::Eval(a) => return evaluate_run(&a, given, listening(stop, quiet)?),
        Command::Generate(a) => return Ok(generate_text(&a, given, listening(stop, quiet)?)?),
        Command::Diagnose(a) => return Ok(at_once().and_then(|()| diagnose_runs(&a, given))?),
        Command::Completions(a) => print_bytes(&completions(a.shell))?,
        Command::Man(a) => print_bytes(&manual(a.subcommand.as_deref())?)?,
        Command::Check(a) => return Ok(at_once().and_then(|()| check_run(&a))?),
        Command::Config(a) => {
            at_once()?;
            show_config(&a, given)?;
        }
        Command::Verify(a) => return Ok(at_once().and_then(|()| verify_files(&a, given))?),
        Command::Bench(a) => at_once().and_then(|()| measure(&a, given))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show_config(a: &Configured, given: Given) -> Done<()> {
    let given = given.or(a.file()?);
    let config = resolve(given.clone(), &Environment::default())?;
    say_idle(&given, &config, &mut Log::default());
    let printed = match a.json {
        true => print_json(&serde_json::to_value(&config).map_err(not_json)?),
        false => print(&config.to_toml()?),
    };
    Ok(printed?)
}

fn train_run(a: &Train, given: Given, mut ctx: Context) -> Done<ExitCode> {
    // Nothing is sent anywhere, with or without the flag.
    let _ = a.no_wandb;
    let environment = Environment::with_file(&mut ctx.log)?;
    let report = match &a.resume {
        Some(run) => {
            environment.check_device()?;
            let (folder, config) = RunFolder::open(run)?;
            let given = given.or(a.with.file()?);
            let config = config
                .overlaid(given.clone(), Reader::Resume)
                .map_err(wrong_setting)?;
            say_idle(&given, &config, &mut ctx.log);
            let broken = match a.restart_chain {
                true => Broken::Restart,
                false => Broken::Refuse,
            };
            train::resume(&config, folder, broken, &mut ctx)?
        }
        None => {
            let given = given.or(a.with.file()?);
            let more = match a.quick {
                true => Given::quick(),
                false => Given::default(),
            };
            let config = resolve(given.clone().or(more), &environment)?;
            say_idle(&given, &config, &mut ctx.log);
            train::train(&config, &mut ctx)?
        }
    };
    let end = format!(
        "{}details: {}/{}_summary.txt\n",
        report.short, report.run_dir, report.sampler_type
    );
    if a.with.json {
        if !ctx.log.is_quiet() {
            say(&end);
        }
        print_json(&serde_json::to_value(&report).map_err(not_json)?)?;
    } else {
        print(&end)?;
    }
    Ok(strictly(a.strict, report.verdict.as_ref()))
}

/// Returns the exit code by a verdict; says which checks fail where they are to count.
fn strictly(strict: bool, verdict: Option<&Verdict>) -> ExitCode {
    if !strict || verdict.is_some_and(Verdict::passes) {
        return ExitCode::SUCCESS;
    }
    say("--strict: not every check passes");
    let lines = verdict.map(Verdict::check_lines).unwrap_or_default();
    lines.iter().for_each(|line| say(&format!("  {line}")));
    ExitCode::from(NOT_STRICT)
}

fn train_baseline(a: &Configured, given: Given, mut ctx: Context) -> Done<()> {
    let environment = Environment::with_file(&mut ctx.log)?;
    let config = resolve(given.or(a.file()?), &environment)?;
    RunFolder::check_place(&config.save_dir)?;
    let b = Setting::new(&config)?.baseline(&config, &mut ctx);
    let b = ctx.stopped_with(b, "the same command")?;
    let printed = match a.json {
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
    };
    Ok(printed?)
}

fn evaluate_run(a: &Eval, given: Given, mut ctx: Context) -> Done<ExitCode> {
    Environment::with_file(&mut ctx.log)?.check_device()?;
    let (folder, config) = RunFolder::open(&a.run)?;
    let config = config
        .overlaid(given, Reader::Eval)
        .map_err(wrong_setting)?;
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
    Ok(finish(place, &record, out)?)
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
    let found = match a.repair {
        true => {
            let settings = check::repair_settings(&a.run)?;
            let (folder, config) = RunFolder::open(&a.run)?;
            let mut found = check::repair(&folder, &config)?;
            found.repaired.splice(0..0, settings);
            found
        }
        false => {
            let (folder, config) = RunFolder::open(&a.run)?;
            check::check(&folder, &config)?
        }
    };
    if a.json {
        print_json(&serde_json::to_value(&found).map_err(not_json)?)?;
    } else {
        print(&format!("{}\n", found.text()))?;
    }
    Ok(ExitCode::from(u8::from(!found.is_whole())))
}

fn diagnose_runs(a: &Diagnose, given: Given) -> Result<ExitCode> {
    let runs = a.runs.iter().map(|path| diagnose::open(path));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    let diagnosis = inference::diagnose(&Device::cpu(given.threads.unwrap_or(0))?, &runs)?;
    if let Some(path) = &a.export {
        export::netcdf(&runs, path)?;
    }
    let verdict = diagnose::verdict(&runs, &diagnosis)?;
    let quantities = Quantities::new(&diagnosis, &a.runs[0])?;
    if let Some(path) = &a.csv {
        quantities.write_csv(path)?;
    }
    if a.json {
        let mut result = serde_json::to_value(&diagnosis).map_err(not_json)?;
        result["checks"] = serde_json::to_value(&verdict.checks).map_err(not_json)?;
        result["passes"] = verdict.passes().into();
        print_json(&result)?;
    } else {
        let checks = verdict.check_lines().join("\n");
        let table = quantities.table(a.rows);
        print(&format!("{}{table}{checks}\n", diagnosis.text()))?;
    }
    Ok(strictly(a.strict, Some(&verdict)))
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

/// Says which of the given settings have no effect.
fn say_idle(given: &Given, config: &Config, log: &mut Log) {
    for line in given.without_effect(config) {
        log.say(&format!("note: {line}"));
    }
}

/// Returns every setting: those of flags and `--config` over the environment over the preset.
fn resolve(given: Given, environment: &Environment) -> Done<Config> {
    let environment = environment.given(&given)?;
    given.or(environment).resolve().map_err(wrong_setting)
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

fn print_bytes(bytes: &[u8]) -> Result<()> {
    print(&String::from_utf8_lossy(bytes))
}

/// Says a line to whoever reads standard error; when nobody does, there is nobody to tell.
fn say(line: &str) {
    let _ = terminal::say(line);
}

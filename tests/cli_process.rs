//! What surrounds a process: its folder is gone, its environment is bare, paths are long or no UTF-8, the library is unloaded, Ctrl-C comes twice.
#![cfg(all(feature = "cli", target_os = "linux"))]

mod common;

use common::command::{self, *};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn start(dir: &Path, args: &[&str]) -> Child {
    let mut c = bnn(dir);
    c.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    c.spawn().expect("the command starts")
}

/// Refused with words, exit code 1 and no panic.
fn refused(out: &Output) -> String {
    let said = words(out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("error") && !said.contains("panic"), "{said}");
    said
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !there() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The first Ctrl-C is heard at the next step, which takes seconds here; the second ends the process at once, and what is there stays whole.
#[test]
fn two_interrupts_end_at_once() {
    let dir = folder();
    // A job in the background, as this test may be, ignores interrupts, and what it starts would, too.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_bnn")]);
    command.args("baseline --shape baby --batch-size 16 --threads 1".split(' '));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command
        .current_dir(dir.path())
        .spawn()
        .expect("the command starts");
    std::thread::sleep(Duration::from_millis(1000));
    let interrupt = |child: &Child| {
        let kill = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(kill.expect("kill").success());
    };
    interrupt(&child);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().expect("a status").is_none());
    interrupt(&child);
    assert_eq!(end(&mut child, 2).code(), Some(130));
}

/// A run whose folder is taken away ends with an error that names what it could not write.
#[test]
fn a_working_folder_that_is_deleted_is_an_error() {
    let dir = folder();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).expect("a folder");
    let long = [
        &["train"][..],
        SMALL,
        &[
            "--sampling-steps",
            "4000000",
            "--thinning",
            "1000",
            "--checkpoint-every",
            "200",
        ],
    ];
    let mut child = start(&work, &long.concat());
    let runs = work.join("checkpoints/samplers/baoa_sampler");
    wait_for("a checkpoint", || {
        let run = std::fs::read_dir(&runs)
            .ok()
            .and_then(|mut all| all.next()?.ok());
        run.is_some_and(|run| run.path().join("chain_00.bnn").exists())
    });
    // Files come while they are taken away.
    wait_for("an empty place", || {
        let _ = std::fs::remove_dir_all(&work);
        !work.exists()
    });
    let status = end(&mut child, 60);
    let out = child.wait_with_output().expect("its words");
    assert_eq!(status.code(), Some(1), "{}", words(&out));
    assert!(refused(&out).contains("checkpoints"), "{}", words(&out));
}

/// A command that begins in a folder that is gone.
#[test]
fn a_working_folder_that_is_gone_is_an_error() {
    let dir = folder();
    let mut shell = Command::new("sh");
    let script =
        "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" train --shape tiny --threads 1";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_bnn")]);
    let out = shell.current_dir(dir.path()).output().expect("a shell");
    refused(&out);
}

/// Without HOME, without PATH, without anything; and with the C locale, in which prompts and texts are UTF-8 all the same.
#[test]
fn the_environment_may_be_bare() {
    let dir = folder();
    let text: String = (0..400)
        .map(|i| format!("Der Fluß {i} trägt Öl.\n"))
        .collect();
    std::fs::write(dir.path().join("text.txt"), text).expect("a text");
    let args = [&["train", "--json", "--data", "text.txt"][..], SMALL].concat();
    let v = json(&bnn(dir.path()).args(&args).output().expect("it starts"));
    let bare = |args: &[&str], locale: Option<&str>| {
        let mut c = bnn(dir.path());
        c.env_clear().args(args);
        if let Some(locale) = locale {
            c.env("LC_ALL", locale);
        }
        c.output().expect("it starts")
    };
    for locale in [None, Some("C"), Some("no_such.locale")] {
        let again = json(&bare(&args, locale));
        assert_eq!(again["samples_hash"], v["samples_hash"], "{locale:?}");
        let run = run_dir(&again);
        let run = run.to_str().expect("UTF-8");
        let prompt = [
            "generate",
            run,
            "--prompt",
            "Fluß ",
            "--max-new-tokens",
            "20",
        ];
        let out = bare(&prompt, locale);
        assert!(out.status.success(), "{}", words(&out));
        let said = String::from_utf8(out.stdout).expect("UTF-8");
        assert!(said.contains("Fluß "), "{said}");
    }
}

/// Runs with one argument that is no text.
fn with(dir: &Path, before: &[&str], path: &OsStr) -> Output {
    bnn(dir).args(before).arg(path).output().expect("it starts")
}

/// Paths that no file system has, and bytes that no text has: refused, or used as they are.
#[test]
fn odd_paths_are_refused_or_used() {
    let dir = folder();
    let v = json(&train(dir.path(), &[]));
    let run = run_dir(&v);
    let long = "x/".repeat(3000);
    let wide = "x".repeat(300);
    for path in [long.as_str(), wide.as_str(), "", "nothing", "\u{1}\n"] {
        for before in [
            &["check"][..],
            &["generate"],
            &["eval"],
            &["diagnose"],
            &["verify"],
            &["train", "--resume"],
            &["train", "--shape", "tiny", "--data"],
            &["train", "--shape", "tiny", "--config"],
        ] {
            let out = with(dir.path(), before, OsStr::new(path));
            let said = words(&out);
            let code = out.status.code();
            assert!(matches!(code, Some(1 | 2)), "{before:?} {path:?}: {said}");
            assert!(!said.contains("panic"), "{before:?} {path:?}: {said}");
        }
    }
    // A run under a name that is no UTF-8, which its readers take.
    let odd = OsString::from_vec(b"run_\xff\xfe".to_vec());
    std::os::unix::fs::symlink(dir.path().join(&run), dir.path().join(&odd)).expect("a link");
    for command in ["check", "diagnose"] {
        let out = with(dir.path(), &[command], &odd);
        assert!(out.status.success(), "{command}: {}", words(&out));
    }
    // What a run records must be text.
    let text = dir.path().join(OsStr::from_bytes(b"text_\xff.txt"));
    std::fs::write(&text, "abcd ".repeat(400)).expect("a text");
    let before = [&["train"][..], SMALL, &["--data"]].concat();
    let out = with(dir.path(), &before, text.as_os_str());
    assert_eq!(out.status.code(), Some(2), "{}", words(&out));
    assert!(words(&out).contains("UTF-8"), "{}", words(&out));
    // As long as a path may be.
    let mut deep = dir.path().join("deep");
    while deep.as_os_str().len() < 3600 {
        deep.push("d".repeat(200));
    }
    std::fs::create_dir_all(&deep).expect("a folder");
    let v = json(&train(&deep, &[]));
    let run = deep.join(run_dir(&v));
    let out = with(dir.path(), &["check"], run.as_os_str());
    assert!(out.status.success(), "{}", words(&out));
}

/// The library in a process that opens and closes it.
#[test]
fn the_library_is_loaded_again_and_again() {
    let dir = folder();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let program = dir.path().join("reload");
    let exe = std::env::current_exe().expect("this test");
    let library = exe.parent().expect("a folder").join("libbnn.so");
    let out = Command::new("gcc")
        .args([
            "-std=gnu99",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-g",
            "-I",
        ])
        .arg(root.join("include"))
        .arg(root.join("tests/capi/reload.c"))
        .arg("-o")
        .arg(&program)
        .arg("-ldl")
        .output()
        .expect("gcc is needed for this test");
    assert!(out.status.success(), "{}", words(&out));
    let run = |before: &[&str]| {
        let mut all: Vec<&OsStr> = before.iter().map(OsStr::new).collect();
        all.extend([
            program.as_os_str(),
            dir.path().as_os_str(),
            library.as_os_str(),
        ]);
        let out = Command::new(all[0]).args(&all[1..]).output();
        let out = out.expect("the program starts");
        assert!(
            out.status.success(),
            "{:?} {}",
            out.status,
            String::from_utf8_lossy(&out.stdout)
        );
    };
    run(&[]);
}

/// `bnn` says which version it is without anything around it.
#[test]
fn help_needs_no_folder() {
    let out = command::run(Path::new("/"), &["--help"]);
    assert!(out.status.success());
}

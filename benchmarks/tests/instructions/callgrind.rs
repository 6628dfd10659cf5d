//! Runs a scenario under callgrind and reads what it counted.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The instructions of one run.
#[derive(Debug, PartialEq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    /// By function of the program, without its callees in the program: what it spends in the allocator and the C library is
    /// its own doing.
    pub(crate) functions: BTreeMap<String, u64>,
}

const NO_VALGRIND: &str =
    "valgrind cannot be run; install it: sudo apt-get install -y --no-install-recommends valgrind";

/// Counts the instructions of one run of `engine-cost`.
pub(crate) fn count(scenario: &str, records: u64) -> Result<Counts> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let program = env!("CARGO_BIN_EXE_engine-cost");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--dump-line=no", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args([program, scenario, &records.to_string()]);
    let run = valgrind.output().context(NO_VALGRIND)?;
    let errors = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "`engine-cost {scenario} {records}` failed under valgrind:\n{errors}");
    let text = std::fs::read_to_string(&out).context("callgrind left no counts")?;
    counts(&text, program)
}

/// Versions of what the counts depend on beside the program: valgrind and the C library. `rust-toolchain.toml` has the compiler.
pub(crate) fn tools() -> Result<String> {
    let first_line = |program: &str, otherwise: &'static str| -> Result<String> {
        let output = Command::new(program).arg("--version").output().context(otherwise)?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_string())
    };
    let (valgrind, library) = (
        first_line("valgrind", NO_VALGRIND)?,
        first_line("ldd", "ldd, part of the C library, cannot be run")?,
    );
    Ok(format!("{valgrind}, {library}"))
}

/// Reads callgrind's profile format: `ob=` and `fn=` say whose cost lines follow, each `<position> <count>`; the one after a
/// `calls=` line is all that the call of `cfn=` in `cob=` cost.
fn counts(profile: &str, program: &str) -> Result<Counts> {
    // The allocator's entry is the program's in name only, and "(below main)" calls everything through the C library.
    let is_own = |object: &str, function: &str| {
        object == program && !function.starts_with("__rustc::") && function != "(below main)"
    };
    let (mut object, mut function) = ("", "");
    let (mut callee_object, mut callee) = (None, "");
    let mut is_call = false;
    let (mut total, mut functions) = (0, BTreeMap::new());
    for line in profile.lines() {
        match line.split_once('=') {
            Some(("ob", name)) => object = name,
            Some(("fn", name)) => function = name,
            Some(("cob", name)) => callee_object = Some(name),
            Some(("cfn", name)) => callee = name,
            Some(("calls", _)) => is_call = true,
            Some(_) => {}
            None if line.starts_with(|first: char| first.is_ascii_digit()) => {
                let count = line.split(' ').nth(1).with_context(|| format!("no count in {line:?}"))?;
                let count: u64 = count.parse()?;
                let counts_here = if std::mem::take(&mut is_call) {
                    !is_own(callee_object.take().unwrap_or(object), callee)
                } else {
                    total += count;
                    true
                };
                if counts_here && is_own(object, function) {
                    *functions.entry(readable(function)).or_default() += count;
                }
            }
            None => {}
        }
    }
    ensure!(total > 0, "callgrind counted nothing");
    Ok(Counts { total, functions })
}

/// A symbol without what differs between builds: the hash of a Rust symbol, the `'2` of a recursion.
fn readable(symbol: &str) -> String {
    let symbol = symbol.split('\'').next().unwrap_or(symbol);
    let is_hash = |text: &str| {
        text.len() == 17 && text.starts_with('h') && text[1..].chars().all(|c| c.is_ascii_hexdigit())
    };
    match symbol.rsplit_once("::") {
        Some((name, hash)) if is_hash(hash) => name.to_string(),
        _ => symbol.to_string(),
    }
}

#[test]
fn a_function_answers_for_the_c_library_but_not_for_the_program() -> Result<()> {
    let profile = "events: Ir\nob=/shop\nfn=shop::count::h0123456789abcdef\n0 7\n\
                   cob=/libc\ncfn=malloc\ncalls=2 0\n0 90\ncfn=shop::encode\ncalls=1 0\n0 5\n0 3\n\n\
                   fn=shop::encode\n0 5\n\nob=/libc\nfn=malloc\n0 90\n";
    let functions = BTreeMap::from([("shop::count".to_string(), 100), ("shop::encode".to_string(), 5)]);
    assert_eq!(counts(profile, "/shop")?, Counts { total: 105, functions });
    Ok(())
}
